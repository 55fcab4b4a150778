"""Attacks by what a user gives: texts, weights that compute nonsense, values of keys, names. None is silent (slow).

To add one, add a line to a table (`attacks.py`).
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from attacks import Answer, Damage, Kept, Place, Refused, Right, Said, Warned, run, weights

pytestmark = pytest.mark.slow

TEXTS = ["text=files", "text.window=16"]
"""Deactivation reads these; the root is that of the sentences."""


# Text files ---------------------------------------------------------------------------------------------------------------


def edit(change: Callable[[str], str], *languages: str) -> Damage:
    """Change the text of some languages, by default of English."""

    def damage(place: Place) -> None:
        for language in languages or ("en",):
            path = place.data / f"{language}.txt"
            path.write_bytes(change(path.read_bytes().decode()).encode())

    return damage


def inside(character: str, *languages: str) -> Damage:
    """Put a character between two words of the second line."""
    return edit(lambda text: text.replace(" ", f" {character}", text.split("\n")[0].count(" ") + 1), *languages)


def put(content: bytes, name: str = "en.txt") -> Damage:
    return lambda place: (place.data / name).write_bytes(content)


def instead(make: Callable[[Path], object]) -> Damage:
    """Something else in place of the English file."""
    return lambda place: ((place.data / "en.txt").unlink(), make(place.data / "en.txt"))


FILES: dict[str, tuple[Damage, Answer]] = {
    "byte order mark": (edit(lambda text: "\ufeff" + text), Right()),
    "lines that end as on Windows": (edit(lambda text: text.replace("\n", "\r\n"), "en", "fr", "hi"), Right()),
    "a line feed at the end": (edit(lambda text: text + "\n"), Right()),
    "a carriage return in a sentence": (inside("\r"), Kept("en.txt has carriage returns that end no line, in line 2")),
    "one in every language, elsewhere": (
        lambda place: (inside("\r")(place), edit(lambda text: "a\rb " + text, "fr")(place)), Kept("in line 2", "in line 1")
    ),
    "spaces around": (edit(lambda text: text.replace("\n", "  \n\t")), Kept()),
    "a line separator": (inside("\u2028"), Kept()),
    "a next line": (inside("\u0085"), Kept()),
    "a vertical tab": (inside("\v"), Kept()),
    "a form feed": (inside("\f"), Kept()),
    "a file separator": (inside("\x1c"), Kept()),
    "a zero": (inside("\0"), Kept()),
    "marks that combine, emoji, both directions": (inside("e\u0301 👩‍👩‍👧 \u202eשלום\u202c "), Kept()),
    "a quote and commas": (inside('"a,"",\'b '), Kept()),
    "a formula of spreadsheets": (edit(lambda text: "=1+" + text), Kept()),
    "empty": (put(b""), Refused("dataset.root", "en.txt is empty")),
    "blank": (put(b" \n\t\n\n"), Refused("dataset.root", "en.txt is empty")),
    "UTF-16": (put("No.\nThe child.\nAfter.".encode("utf-16")), Refused("dataset.root", "not UTF-8 at byte 0", "iconv")),
    "Latin-1": (put("Née.\nÀ.\nÉ.".encode("latin-1")), Refused("dataset.root", "not UTF-8 at byte 1")),
    "half a surrogate": (put(b"a \xed\xa0\x80\nb\nc"), Refused("dataset.root", "not UTF-8 at byte 2")),
    "a line too few": (edit(lambda text: text.rpartition("\n")[0]), Refused("dataset.root", "different numbers of lines")),
    "an empty line": (
        edit(lambda text: "\n".join(["", *text.split("\n")[1:]])), Refused("dataset.root", "line 1 of en.txt is empty")
    ),
    "a folder of that name": (instead(Path.mkdir), Refused("dataset.root", "no file for en")),
    "a link to nowhere": (instead(lambda path: path.symlink_to("nowhere")), Refused("dataset.root", "no file for en")),
    "a link to itself": (instead(lambda path: path.symlink_to("en.txt")), Refused("dataset.root", "no file for en")),
}  # fmt: skip


@pytest.mark.parametrize("attack", FILES)
def test_a_file_of_sentences(place: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, expected = FILES[attack]
    languages = place.arguments[5]
    damage(place)
    expected.check(run(place, languages), untouched)


def test_a_text_shorter_than_a_window(place: Place, untouched: tuple[float, float]) -> None:
    text = [*TEXTS[:1], f"text.root={place.data}", "text.window=5000", "stages=[capture,probe,deactivate]"]
    Refused("text.window", "shorter than one window").check(run(place, *text), untouched)


def test_a_sentence_too_long_for_the_memory(place: Place, untouched: tuple[float, float]) -> None:
    """More tokens than a batch are read by themselves and named before; what the memory cannot hold is named after."""
    edit(lambda text: text + " ha" * 1500)(place)
    Warned("longer than the 2048 tokens", "18 times runtime.batch_tokens=256: it is read alone").check(
        run(place, "runtime.batch_tokens=256"), untouched
    )


# Weights that compute nonsense ---------------------------------------------------------------------------------------------

GATE, UP, NORM = "model.layers.{}.mlp.gate_proj.weight", "model.layers.{}.mlp.up_proj.weight", "model.norm.weight"
EMBEDDINGS = "model.embed_tokens.weight"


def times(name: str, factor: float) -> Damage:
    return weights(lambda tensors: tensors[name].mul_(factor))


def silent(tensors: dict[str, torch.Tensor]) -> None:
    for layer in range(3):
        tensors[UP.format(layer)].zero_()


def all_alike(tensors: dict[str, torch.Tensor]) -> None:
    tensors[EMBEDDINGS].copy_(tensors[EMBEDDINGS][5].clone())


def set_row(row: int, value: float, name: str = EMBEDDINGS) -> Damage:
    return weights(lambda tensors: tensors[name][row].fill_(value))


def same_everywhere(place: Place) -> None:
    for path in place.data.glob("*.txt"):
        path.write_text("The child reads.\n" * 3)


def copied(place: Place) -> None:
    content = (place.data / "en.txt").read_bytes()
    for path in place.data.glob("*.txt"):
        path.write_bytes(content)


REPEATS = "sentences are repeats of earlier ones"
COPIES = "have the same 3 sentences, word for word"
FOREIGN = "text is not in the script of its language"

NONSENSE: dict[str, tuple[Damage, Answer]] = {
    "no neuron is ever active": (weights(silent), Warned("no neuron is active on any sentence")),
    "neurons do the same everywhere": (weights(all_alike), Warned("the neurons do the same on every sentence")),
    "one dead layer": (times(UP.format(1), 0), Warned("no neuron of the layers [1] is active")),
    "one sentence everywhere": (same_everywhere, Warned(COPIES, REPEATS, FOREIGN, "the neurons do the same on every sentence")),
    "copies of one file": (copied, Warned(COPIES, FOREIGN)),
    "a copy of English": (lambda place: put((place.data / "en.txt").read_bytes(), "id.txt")(place), Warned(COPIES)),
    "a sentence again and again": (
        lambda place: [edit(lambda text: "\n".join([text.split("\n")[2]] * 3), path.stem)(place) for path in
                       place.data.glob("*.txt")], Warned(REPEATS)
    ),
    "one NaN neuron": (set_row(3, float("nan"), UP.format(1)), Refused("model.dtype", "layer 1", "float32")),
    "one infinite neuron": (set_row(3, float("inf"), UP.format(1)), Refused("model.dtype", "layer 1")),
    "activations beyond float32": (times(UP.format(0), 1e38), Refused("model.dtype", "layer 0")),
}  # fmt: skip


@pytest.mark.parametrize("attack", NONSENSE)
def test_activations_that_say_nothing(place: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, expected = NONSENSE[attack]
    damage(place)
    expected.check(run(place), untouched)


def test_activations_beyond_float16(place: Place, untouched: tuple[float, float]) -> None:
    times(UP.format(0), 3e5)(place)
    Refused("model.dtype", "layer 0", "bfloat16").check(run(place, "model.dtype=float16"), untouched)


LOGITS: dict[str, tuple[Damage, Answer]] = {
    "NaN in the last norm": (times(NORM, float("nan")), Refused("model.dtype", "logits", "float32")),
    "an infinite last norm": (times(NORM, float("inf")), Refused("model.dtype", "logits", "float32")),
    "logits beyond float32": (times(NORM, 1e38), Refused("model.dtype", "logits", "float32")),
    "logits that no exponential can hold": (times(NORM, 1e6), Warned()),
}


@pytest.mark.parametrize("stage", ["deactivate", "generate"])
@pytest.mark.parametrize("attack", LOGITS)
def test_logits_that_are_no_numbers(place: Place, untouched: tuple[float, float], attack: str, stage: str) -> None:
    damage, expected = LOGITS[attack]
    damage(place)
    text = [*TEXTS, f"text.root={place.data}", "control.draws=1", "generation.samples=1", "generation.tokens=4"]
    expected.check(run(place, *text, f"stages=[capture,compare,probe,{stage}]"), untouched)


def test_perplexities_that_no_number_holds_are_shown(place: Place, untouched: tuple[float, float]) -> None:
    times(NORM, 1e6)(place)
    text = [*TEXTS, f"text.root={place.data}", "control.draws=1"]
    Warned().check(run(place, *text, "stages=[capture,probe,deactivate,report]"), untouched)
    assert (place.run / "figures" / "table1_deactivation.png").is_file()


# Values of keys ------------------------------------------------------------------------------------------------------------

VALUES: dict[str, Answer] = {
    "probe.threshold=nan": Refused("probe.threshold", "finite"),
    "probe.threshold=-inf": Refused("probe.threshold", "finite"),
    "probe.threshold=inf": Refused("probe.threshold", "finite"),
    "probe.threshold=-5": Refused("probe.threshold", "at least 0"),
    "probe.threshold=2.3": Refused("probe.threshold", "no z-score over 6 languages"),
    "probe.threshold=two": Said("probe.threshold", "two"),
    "probe=nothing": Said("Could not find 'probe/nothing'"),
    "probe.name=nothing": Refused("probe.name", "nothing"),
    "cache.max_gib=nan": Refused("cache.max_gib", "finite"),
    "cache.max_gib=inf": Refused("cache.max_gib", "finite"),
    "cache.max_gib=-1": Refused("cache.max_gib", "at least 0"),
    "model.context=-5": Refused("model.context", "at least 1"),
    "model.context=0": Refused("model.context", "at least 1"),
    "model.dtype=float8": Said("model.dtype", "float8"),
    "model.dtype=int8": Said("model.dtype", "int8"),
    "model.special_tokens=bos": Said("model, none"),
    "model.quantization=nf5": Said("nf5"),
    "model.path=null": Refused("model.path", "needs one of them"),
    "model.path=/nowhere": Refused("model.path", "there is no such folder"),
    "model.path=/etc/passwd": Refused("model.path", "passwd"),
    "model.tokenizer=/nowhere": Refused("model.tokenizer", "no tokenizer"),
    "checkpoint=step5": Refused("checkpoint.step", "never published this step"),
    "seed=1.5": Said("seed", "1.5"),
    "seed=many": Said("seed", "many"),
    "dataset.sentences=0": Refused("dataset.sentences", "at least 2"),
    "dataset.sentences=1": Refused("dataset.sentences", "at least 2"),
    "dataset.sentences=1000000000": Refused("dataset.sentences", "only 3 sentences"),
    "dataset.root=null": Refused("dataset.root", "missing"),
    "dataset.root=/nowhere": Refused("dataset.root", "/nowhere"),
    "dataset.root=/etc/passwd": Refused("dataset.root", "/etc/passwd"),
    "text.window=1": Refused("text.window", "at least 2"),
    "text.window=-3": Refused("text.window", "at least 2"),
    "text.documents=0": Refused("text.documents", "at least 1"),
    "text.windows=some": Said("some"),
    "control.draws=-1": Refused("control.draws", "at least 0"),
    "generation.samples=0": Refused("generation.samples", "at least 1"),
    "generation.samples=4": Refused("generation.samples", "only 3 sentences"),
    "generation.tokens=0": Refused("generation.tokens", "at least 1"),
    "generation.languages=[xx]": Refused("generation.languages", "xx is not under study"),
    "runtime.batch_tokens=0": Refused("runtime.batch_tokens", "at least 1"),
    "runtime.num_processes=0": Refused("runtime.num_processes", "at least 1"),
    "runtime.tensor_parallel=0": Refused("runtime.tensor_parallel", "at least 1"),
    "runtime.tensor_parallel=3": Refused("runtime.tensor_parallel", "cannot be shared by 3 processes", "runtime.num_processes"),
    "intervention.doses=[]": Refused("intervention.doses", "one or more different doses"),
    "intervention.doses=[1,1]": Refused("intervention.doses", "different"),
    "intervention.doses=[nan]": Refused("intervention.doses", "finite"),
    "intervention.name=burn": Refused("intervention.name", "burn"),
    "tracking=nobody": Said("Could not find 'tracking/nobody'"),
    "tracking.mode=sometimes": Said("sometimes"),
    'tracking.tags=["",a]': Refused("tracking.tags", "a tag is empty"),
    "stages=[]": Refused("stages", "in order"),
    "stages=[probe,capture]": Refused("stages", "in order"),
    "stages=[capture,capture]": Refused("stages", "in order"),
    "stages=[dance]": Said("dance"),
    "dataset.sentence=3": Said("Could not override 'dataset.sentence'"),
    "+dataset.sentence=3": Refused("dataset.sentence", "not in"),
    "language_set.languages=[]": Refused("language_set.languages", "two or more"),
    "language_set.languages=[en]": Refused("language_set.languages", "two or more"),
    "language_set.languages=[en,en]": Refused("language_set.languages", "two or more different"),
    "language_set.languages=[en,none,fr]": Refused("language_set.languages", "meaning of its own", "x-none"),
    "language_set.languages=[random,en]": Refused("language_set.languages", "meaning of its own"),
    "language_set.languages=[en,../data/fr]": Refused("language_set.languages", "cannot be a file name"),
    "language_set.languages=[en,fr/x]": Refused("language_set.languages", "cannot be a file name"),
    'language_set.languages=[en,""]': Refused("language_set.languages", "cannot be a file name"),
    "language_set.languages=[en,fr,zh,ar,hi,xx]": Refused("dataset.root", "no file for xx"),
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_nothing_can_be_done_with(place: Place, untouched: tuple[float, float], value: str) -> None:
    VALUES[value].check(run(place, value), untouched)
    assert not (place.run / "samples.csv").exists()


def test_a_negative_limit_of_the_cache_costs_nothing(place: Place, untouched: tuple[float, float]) -> None:
    run(place)
    kept = sorted(place.cache.rglob("*"))
    VALUES["cache.max_gib=-1"].check(run(place, "cache.max_gib=-1", f"hydra.run.dir={place.run}2"), untouched)
    assert sorted(place.cache.rglob("*")) == kept


# Names ---------------------------------------------------------------------------------------------------------------------

CODES = ["nan", "no", "null", "true", "1", "1e5", "mean", "$a_$"]
"""Codes of languages that a reader of YAML, of tables or of mathematics may take for something else."""


def test_codes_that_look_like_something_else_are_codes(place: Place, untouched: tuple[float, float]) -> None:
    for path, code in zip(sorted(place.data.glob("*.txt")), CODES, strict=False):
        path.rename(path.with_name(f"{code}.txt"))
    for code in CODES[6:]:
        put(f"{code} a\n{code} b c\n{code} d".encode(), f"{code}.txt")(place)
    codes = "[" + ",".join(f"'{code}'" for code in CODES) + "]"
    stages = "stages=[capture,compare,probe,deactivate,report]"
    text = [*TEXTS, f"text.root={place.data}", "text.window=4", "control.draws=1", r"model.name='$\frac{$ <b>&'"]
    found = run(place, f"language_set.languages={codes}", stages, *text)
    Warned().check(found, untouched)
    assert list(json.loads((place.run / "metrics.json").read_text())["perplexity"]) == CODES
    assert (place.run / "figures" / "table1_deactivation.png").is_file()
    assert "<b>&" not in (place.run / "report.html").read_text()
