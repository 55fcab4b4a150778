"""Attacks on what a run leaves: damaged records and tables, other inputs, other people's files, sweeps of garbage (slow).

To add one, add a line to a table (`attacks.py`).
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attacks import Answer, Damage, Place, Refused, Right, Warned, run
from conftest import Mount
from safetensors.torch import load_file, save_file

from lf_experiments.sweep import main as put_side_by_side

pytestmark = pytest.mark.slow

STAGES = "capture,compare,probe,deactivate,generate"
TABLES = (
    "samples.csv", "similarity.npy", "layers.csv", "pairs.csv", "regions.csv", "key_neurons.parquet", "perplexity.csv",
    "perplexity_windows.parquet", "generations.csv",
)  # fmt: skip


def settings(place: Place, stages: str = STAGES) -> list[str]:
    """A run of every stage that needs no corpus of its own."""
    small = ["text.window=16", "control.draws=1", "generation.samples=1", "generation.tokens=4"]
    return ["text=files", f"text.root={place.data}", *small, f"stages=[{stages}]"]


@pytest.fixture(scope="module")
def finished(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place where everything was run: for copies, and to compare with."""
    place = Place(shutil.copytree(pristine, tmp_path_factory.mktemp("finished") / "place"))
    assert run(place, *settings(place)).status == 0
    return place


@pytest.fixture
def done(finished: Place, tmp_path: Path) -> Place:
    """A copy of the finished place, where its paths lead."""
    place = Place(shutil.copytree(finished.folder, tmp_path / "place"))
    record = (place.run / "run.json").read_text().replace(str(finished.folder), str(place.folder))
    (place.run / "run.json").write_text(record)
    return place


def results(place: Place) -> dict[str, bytes]:
    return {name: (place.run / name).read_bytes() for name in (*TABLES, "metrics.json")}


def everything(folder: Path) -> dict[str, bytes]:
    """Every file but the logs and locks, which a refused command writes too."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log" and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if ".hydra" not in path.parts}


# The record ----------------------------------------------------------------------------------------------------------------


def record(content: bytes | Callable[[dict], dict]) -> Damage:
    """Replace the record, or change it."""

    def damage(place: Place) -> None:
        path = place.run / "run.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content(json.loads(path.read_text()))).encode())

    return damage


UNREADABLE = Refused("run.json", "it cannot be read", "another hydra.run.dir", "overwrite=true")

RECORDS: dict[str, tuple[Damage, Answer]] = {
    "empty": (record(b""), UNREADABLE),
    "binary": (record(b"\xff\xfe\x00"), UNREADABLE),
    "zeros, as after a power cut": (record(bytes(512)), UNREADABLE),
    "a list": (record(b"[]"), UNREADABLE),
    "of something else": (record(b'{"foo": 1}'), UNREADABLE),
    "without stages": (record(lambda found: {key: found[key] for key in found if key != "stages"}), UNREADABLE),
    "with stages that are none": (record(lambda found: {**found, "stages": {"capture": 1}}), UNREADABLE),
    "with files elsewhere": (
        record(lambda found: {**found, "stages": {"x": {"inputs": "", "files": {"../../model/config.json": {}}}}}), UNREADABLE
    ),
    "of a later version": (record(lambda found: {**found, "schema_version": 99}), Refused("run.json", "a later version")),
    "a folder": (
        lambda place: ((place.run / "run.json").unlink(), (place.run / "run.json").mkdir()),
        Refused("hydra.run.dir", "a folder is where a file should be"),
    ),
    "lost": (
        lambda place: (place.run / "run.json").unlink(), Refused("hydra.run.dir", "no run.json says what they were made from")
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", RECORDS)
def test_a_damaged_record_costs_no_result(done: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, expected = RECORDS[attack]
    damage(done)
    before = everything(done.run)
    for _ in range(2):
        expected.check(run(done, *settings(done)), untouched)
        assert everything(done.run) == before


def test_a_record_that_is_half_written_can_be_overwritten(done: Place, finished: Place) -> None:
    path = done.run / "run.json"
    path.write_bytes(path.read_bytes()[:700])
    UNREADABLE.check(run(done, *settings(done)), (0, 0))
    assert run(done, *settings(done), "overwrite=true").status == 0
    assert results(done) == results(finished)


# Results -------------------------------------------------------------------------------------------------------------------


def put(name: str, content: bytes) -> Damage:
    return lambda place: (place.run / name).write_bytes(content)


def cut(name: str) -> Damage:
    return lambda place: os.truncate(place.run / name, (place.run / name).stat().st_size // 2)


def lose(*names: str) -> Damage:
    return lambda place: [(place.run / name).unlink() for name in names]


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    """Change a table, which stays one."""

    def damage(place: Place) -> None:
        path = place.run / name
        if path.suffix == ".parquet":
            change(pd.read_parquet(path)).to_parquet(path)
        else:
            change(pd.read_csv(path, keep_default_na=False)).to_csv(path, index=False)

    return damage


def other_map(place: Place) -> None:
    np.save(place.run / "similarity.npy", np.eye(4, dtype=np.float32))


RESULTS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "nothing": (lambda _: None, ()),
    "sentences lost": (lose("samples.csv"), ("samples.csv is missing",)),
    "sentences edited": (table("samples.csv", lambda found: found.assign(text="x")), ("samples.csv was changed",)),
    "map cut": (cut("similarity.npy"), ("similarity.npy was changed",)),
    "another map": (other_map, ("similarity.npy was changed",)),
    "layers empty": (put("layers.csv", b""), ("layers.csv was changed",)),
    "pairs of something else": (put("pairs.csv", b"a,b\n1,2\n"), ("pairs.csv was changed",)),
    "regions cut": (cut("regions.csv"), ("regions.csv was changed",)),
    "regions without a language": (
        table("regions.csv", lambda found: found[found["language"] != "zh"]), ("regions.csv was changed",)
    ),
    "key neurons cut": (cut("key_neurons.parquet"), ("key_neurons.parquet was changed",)),
    "key neurons that there are not": (
        table("key_neurons.parquet", lambda found: found.assign(neuron=99_999)), ("key_neurons.parquet was changed",)
    ),
    "perplexities of one": (
        table("perplexity.csv", lambda found: found.assign(perplexity=1.0)), ("perplexity.csv was changed",)
    ),
    "three perplexities removed": (table("perplexity.csv", lambda found: found[3:]), ("perplexity.csv was changed",)),
    "perplexities of something else": (put("perplexity.csv", b"foo\n1\n"), ("perplexity.csv was changed",)),
    "windows binary": (put("perplexity_windows.parquet", b"\0" * 99), ("perplexity_windows.parquet was changed",)),
    "continuations edited": (table("generations.csv", lambda found: found.assign(text="")), ("generations.csv was changed",)),
    "metrics edited": (put("metrics.json", b'{"model": "m", "checkpoint": "final", "lrds": 1}'), ()),
    "metrics garbage": (put("metrics.json", b"\xff{"), ()),
    "metrics lost": (lose("metrics.json"), ()),
    "two tables lost": (lose("layers.csv", "regions.csv"), ("layers.csv is missing", "regions.csv is missing")),
    "all tables lost": (lose(*TABLES), tuple(f"{name} is missing" for name in TABLES)),
}  # fmt: skip


@pytest.mark.parametrize("attack", RESULTS)
def test_damaged_results_are_made_again(done: Place, finished: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, warnings = RESULTS[attack]
    damage(done)
    changed = {path.name: path.read_bytes() for path in done.run.iterdir() if path.is_file()}
    Right(*warnings).check(run(done, *settings(done)), untouched)
    assert results(done) == results(finished)
    for name in (warning.partition(" was changed")[0] for warning in warnings if "was changed" in warning):
        assert (done.run / f"{Path(name).stem}.changed{Path(name).suffix}").read_bytes() == changed[name]


@pytest.mark.parametrize("rows", [b"\n", b'[{"deactivated": "none"\n', b"\xff\n", b"{}\n", b"[1]\n"])
def test_what_an_interrupted_stage_has_left_is_not_believed(
    done: Place, finished: Place, untouched: tuple[float, float], rows: bytes
) -> None:
    lose("perplexity.csv", "perplexity_windows.parquet")(done)
    inputs = json.loads((done.run / "run.json").read_text())["stages"]["deactivate"]["inputs"]
    (done.run / f".deactivate-{inputs}.jsonl").write_bytes(rows)
    missing = ("perplexity.csv is missing", "perplexity_windows.parquet is missing")
    Right(*missing, "is damaged: what an interrupted run had left").check(run(done, *settings(done)), untouched)
    assert results(done) == results(finished)


# Other inputs, and stages without those before them -------------------------------------------------------------------------


def say(name: str, **values: object) -> Damage:
    """Change values of a JSON file of the model."""

    def change(place: Place) -> None:
        path = place.model / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def scaled(place: Place) -> None:
    path = place.model / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"].mul_(1.7)
    save_file(tensors, path, metadata={"format": "pt"})


def retold(place: Place) -> None:
    path = place.data / "en.txt"
    path.write_text(path.read_text().replace("book", "tale"))


def given(*overrides: str) -> tuple[Damage, tuple[str, ...]]:
    return (lambda _: None), overrides


OTHERS: dict[str, tuple[Damage, tuple[str, ...], str]] = {
    "another seed": (*given("seed=1"), "(capture, compare, probe, deactivate, generate): seed 0 -> 1"),
    "another format, to make a report": (*given("model.dtype=bfloat16", "stages=[report]"), "model.dtype auto -> bfloat16"),
    "no special tokens": (*given("model.special_tokens=none"), "model.special_tokens model -> none"),
    "other languages": (*given("language_set.languages=[en,fr,zh,ar,vi,hi]"), "language_set.languages [ar,en,fr,hi,vi,zh] ->"),
    "fewer sentences": (*given("dataset.sentences=2"), "dataset.sentences 3 -> 2"),
    "another threshold": (*given("probe.threshold=1.5"), "(probe, deactivate, generate): probe.threshold 2.0 -> 1.5"),
    "other windows, to capture": (*given("text.window=8", "stages=[capture]"), "(deactivate): text.window 16 -> 8"),
    "more controls": (*given("control.draws=2"), "(deactivate): control.draws 1 -> 2"),
    "more tokens": (*given("generation.tokens=5"), "(generate): generation.tokens 4 -> 5"),
    "other weights": (scaled, (), "the weights changed"),
    "another activation function": (say("config.json", hidden_act="relu"), (), "the configuration of the model changed"),
    "another end": (say("generation_config.json", eos_token_id=[7, 9]), (), "(generate): the end tokens of generation_config"),
    "other sentences": (retold, (), "the sentences changed"),
}  # fmt: skip


@pytest.mark.parametrize("attack", OTHERS)
def test_results_of_other_inputs_are_kept(done: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, overrides, differing = OTHERS[attack]
    damage(done)
    before = everything(done.run)
    Refused("hydra.run.dir", "it holds results of other inputs", differing, "overwrite=true").check(
        run(done, *settings(done), *overrides), untouched
    )
    assert everything(done.run) == before


def test_settings_for_a_chat_change_nothing(done: Place, finished: Place, untouched: tuple[float, float]) -> None:
    say("generation_config.json", repetition_penalty=3.0, num_beams=4, no_repeat_ngram_size=2, do_sample=True)(done)
    Right().check(run(done, *settings(done)), untouched)
    lose("generations.csv")(done)
    Right("generations.csv is missing").check(run(done, *settings(done)), untouched)
    assert results(done) == results(finished)


@pytest.mark.parametrize("content", [b"", b"{no", b"[]", b'{"eos_token_id": "</s>"}', b'{"eos_token_id": [true]}'])
def test_a_damaged_generation_config(place: Place, untouched: tuple[float, float], content: bytes) -> None:
    (place.model / "generation_config.json").write_bytes(content)
    Refused("model.path", "generation_config.json", "this file is damaged", "download it again").check(run(place), untouched)


ALONE: dict[str, Answer] = {
    "compare": Refused("stages", "no results of capture", "add capture"),
    "probe": Refused("stages", "no results of capture", "add capture"),
    "deactivate": Refused("stages", "no results of probe", "add probe"),
    "generate": Refused("stages", "no results of probe", "add probe"),
    "capture,compare,deactivate": Refused("stages", "no results of probe", "add probe"),
    "compare,report": Refused("stages", "no results of capture", "add capture"),
    "tasks": Refused("stages", "there is nothing to do", "tasks=[NAME]"),
    "report": Warned(),
    "capture": Warned(),
    "capture,report": Warned(),
}


@pytest.mark.parametrize("stages", ALONE)
def test_stages_without_those_before_them(place: Place, untouched: tuple[float, float], stages: str) -> None:
    ALONE[stages].check(run(place, *settings(place, stages)), untouched)


# Other people's files, and other processes -----------------------------------------------------------------------------------

THEIRS = (
    "thesis.tex", ".thesis.partial", "proj/.figure.part2.tex", "proj/.download.part", "figures/mine.png", "layers.backup.csv",
    "proj/run/.similarity.99999.part.npy", ".hydra/mine.yaml", ".similarity.part.npy", ".layers.csv.part",
)  # fmt: skip


def test_files_of_others_in_the_run_folder_are_left_alone(done: Place, untouched: tuple[float, float]) -> None:
    for name in THEIRS:
        (done.run / name).parent.mkdir(parents=True, exist_ok=True)
        (done.run / name).write_text(name)
    Right().check(run(done, *settings(done)), untouched)
    assert run(done, *settings(done), "seed=1", "overwrite=true").status == 0
    assert {name: (done.run / name).read_text() for name in THEIRS} == {name: name for name in THEIRS}


def test_tables_that_no_record_explains_are_left_alone(place: Place, untouched: tuple[float, float]) -> None:
    place.run.mkdir()
    (place.run / "layers.csv").write_text("mine")
    for _ in range(2):
        Refused("hydra.run.dir", "it has layers.csv, and no run.json says").check(run(place), untouched)
    assert (place.run / "layers.csv").read_text() == "mine"


def at_once(*commands: Callable[[], int]) -> Iterator[int]:
    """The statuses of commands that run at the same time, each in a fork of this process."""
    processes = []
    for each in commands:
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=lambda each=each, there=there: there.send(each()))
        process.start()
        processes.append((process, here))
    for process, here in processes:
        assert here.poll(300), process.exitcode
        yield here.recv()
        process.join()


@pytest.mark.parametrize("same", ["run", "cache"])
def test_two_at_once_with_one_folder(place: Place, finished: Place, same: str) -> None:
    folders = [place.run, place.run if same == "run" else place.folder / "run2"]
    commands = [lambda folder=folder: run(place, *settings(place), f"hydra.run.dir={folder}").status for folder in folders]
    assert list(at_once(*commands)) == [0, 0]
    for folder in folders:
        assert {name: (folder / name).read_bytes() for name in TABLES} == {name: results(finished)[name] for name in TABLES}


def test_two_at_once_with_other_inputs_do_not_share_a_folder(place: Place) -> None:
    commands = [lambda seed=seed: run(place, f"seed={seed}").status for seed in (0, 1)]
    assert sorted(at_once(*commands)) == [0, 1]
    assert json.loads((place.run / "run.json").read_text())["status"] == "done"


# Captures with a digest that is right, as only intent makes them ------------------------------------------------------------


def forged(change: Callable[[dict], object]) -> Damage:
    """Change what is kept of one language, and its digest too."""

    def damage(place: Place) -> None:
        from lf_experiments.storage import file_digest

        path = sorted(place.cache.rglob("*.safetensors"))[0]
        tensors = load_file(path)
        facts = {"num_parameters": "1", "layers": "3"}
        change(tensors)
        save_file(tensors, path, metadata=facts)
        path.with_suffix(".sha256").write_text(file_digest(path).hex())

    return damage


def only(name: str, *place: slice) -> Damage:
    """Keep only a part of a tensor."""
    return forged(lambda tensors: tensors.update({name: tensors[name][place].contiguous()}))


FORGED: dict[str, Damage] = {
    "a sentence too few": only("h_1_SN", slice(2)),
    "tokens too few": only("tokens_S", slice(2)),
    "a layer lost": forged(lambda tensors: tensors.pop("h_2_SN")),
    "without tokens": forged(lambda tensors: tensors.pop("tokens_S")),
    "not a number": forged(lambda tensors: tensors["h_0_SN"].fill_(float("nan"))),
}


@pytest.mark.parametrize("attack", FORGED)
def test_a_forged_capture_is_made_again(done: Place, untouched: tuple[float, float], attack: str) -> None:
    FORGED[attack](done)
    shutil.rmtree(done.run)
    Right("is damaged").check(run(done), untouched)


def test_a_folder_in_place_of_a_capture(done: Place, untouched: tuple[float, float]) -> None:
    path = sorted(done.cache.rglob("*.safetensors"))[0]
    path.unlink()
    path.mkdir()
    shutil.rmtree(done.run)
    Refused("cache.dir", "a folder is where a file should be").check(run(done), untouched)


# Sweeps --------------------------------------------------------------------------------------------------------------------

GARBAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda job: (job / "run.json").write_bytes(b""),
    "binary": lambda job: (job / "run.json").write_bytes(b"\xff\xfe\x00"),
    "foreign": lambda job: (job / "run.json").write_text('{"foo": 1}'),
    "list": lambda job: (job / "run.json").write_text("[]"),
    "number": lambda job: (job / "run.json").write_text("7"),
    "later": lambda job: (job / "run.json").write_text('{"schema_version": 99}'),
    "metrics": lambda job: (job / "metrics.json").write_text('{"model": '),
    "metrics of something else": lambda job: (job / "metrics.json").write_text('{"lrds": 1}'),
    "metrics of text": lambda job: (job / "metrics.json").write_text('{"model": "m", "checkpoint": "c", "lrds": "high"}'),
    "without a model": lambda job: (job / "run.json").write_text(
        json.dumps({**json.loads((job / "run.json").read_text()), "config": {}})
    ),
}
"""What is made of a copy of a job. The table says that it cannot be read."""


def test_garbage_in_a_sweep_is_a_row_and_never_the_end_of_the_table(finished: Place, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for name in ("good", *GARBAGE):
        shutil.copytree(finished.run, sweep / name)
        GARBAGE.get(name, lambda _: None)(sweep / name)
    (sweep / "folder" / "run.json").mkdir(parents=True)
    (sweep / "loop").symlink_to(sweep)
    (sweep / "nowhere").symlink_to(tmp_path / "nowhere")
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        assert put_side_by_side([str(sweep)]) == 1
    rows = pd.read_csv(sweep / "sweep.csv", keep_default_na=False).set_index("job")
    assert rows["status"].to_dict() == {"good": "done", **dict.fromkeys(GARBAGE, "unreadable")}
    assert all(rows.loc[name, "error"] for name in GARBAGE)
    assert all(f"job {name} cannot be read and is left out" in said.getvalue() for name in GARBAGE)
    assert (sweep / "report.html").is_file()


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_a_sweep_without_a_run(tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert put_side_by_side([str(tmp_path / folder)]) == 1
    assert "no run.json is in or below it" in capsys.readouterr().err


def test_a_run_folder_that_is_read_only(place: Place, untouched: tuple[float, float], mount: Mount) -> None:
    place.run.mkdir()
    mount(place.run, "--bind", str(place.run), "-o", "ro")
    Refused("hydra.run.dir", "nothing can be written there").check(run(place), untouched)


def test_a_run_folder_that_is_a_file_or_too_long(place: Place, untouched: tuple[float, float]) -> None:
    place.run.write_text("a file")
    Refused("hydra.run.dir", "File exists").check(run(place), untouched)
    Refused("hydra.run.dir", "too long").check(run(place, f"hydra.run.dir={place.folder / ('x' * 300)}"), untouched)
