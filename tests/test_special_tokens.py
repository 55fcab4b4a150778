"""A model is read as it was trained: what its tokenizer puts before a text is read, but not averaged, predicted or counted."""

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scored import cloze, continued, ending_likelihoods, likelihood, samples_of, treated
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM

from lf_experiments import __main__ as command
from lf_experiments.config.schema import Dtype, ModelConfig, SpecialTokens, TextConfig, Windows
from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.corpora.story import Story
from lf_experiments.errors import InputError
from lf_experiments.evaluations.cloze_task import lengths, prompt
from lf_experiments.evaluations.harness import harness_model, quiet_harness
from lf_experiments.evaluations.reading import Reading
from lf_experiments.evaluations.story_cloze import warn_of_lengths
from lf_experiments.evaluations.windows import text_windows
from lf_experiments.models.load import Reader, load_reader, text_beginning
from lf_experiments.models.special_tokens import text_prefix
from lf_experiments.neurons.capture import capture, capture_sentences

TEMPLATES = {"bos": "<s> $A", "bos and eos": "<s> $A </s>", "none": "$A"}
"""What the tokenizer of each tiny LLaMA puts around a text; the weights are the same."""
DOCUMENTS = ["The king reads a book.", "老师在学校里教孩子们。每天，医生喝茶。", "सुबह लड़का पानी पीता है।"]
STORIES = [
    Story("garden", ["孩子在花园里看书。", "下雨了。"], ("He closes the door.", "He closes the book."), 1),
    Story("river", ["No.", "Yes."], ("The rain ends and my sister laughs.", "No."), 0),
]

Load = Callable[..., Reader]


@pytest.fixture(scope="module")
def folders(tokenizer, awakened, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny LLaMAs by what their tokenizer puts around a text."""
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 1, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4
    )
    model, found = awakened(LlamaForCausalLM(config)), {}
    for name, template in TEMPLATES.items():
        found[name] = tmp_path_factory.mktemp("llama")
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
        own = load_reader(found[name], ModelConfig("tiny", path=str(found[name]))).tokenizer
        own.add_special_tokens({"bos_token": "<s>"})
        ids = [(token, own.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
        own.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=ids)
        own.save_pretrained(found[name])
    return found


@pytest.fixture(scope="module")
def read_as(folders: dict[str, Path]) -> Load:
    """Loads one of the tiny LLaMAs: `read_as("bos")`, `read_as("bos", SpecialTokens.none)`."""

    def load(name: str, special_tokens: SpecialTokens = SpecialTokens.model) -> Reader:
        config = ModelConfig("tiny", path=str(folders[name]), dtype=Dtype.float32, special_tokens=special_tokens)
        return load_reader(folders[name], config)

    return load


@pytest.fixture(scope="module", params=["bos", "bos and eos"])
def begun(request: pytest.FixtureRequest, read_as: Load) -> Reader:
    """A model whose tokenizer begins every text with `<s>`; one of them ends it with `</s>`."""
    return read_as(request.param)


def bos(reader: Reader) -> int:
    return reader.tokenizer.convert_tokens_to_ids("<s>")


def ids_of(reader: Reader, text: str) -> list[int]:
    """`<s>` and the tokens of a text, past the code under test."""
    return [bos(reader), *reader.tokenizer(text, add_special_tokens=False)["input_ids"]]


def settings(windows: Windows = Windows.joined, window: int | None = 16) -> TextConfig:
    return TextConfig(name="test", source="files", windows=windows, window=window)


def everything(reader: Reader, sentences: list[str]) -> list[object]:
    """What is measured of a model, with every bit."""
    windows = text_windows(reader, DOCUMENTS, settings(), "en")
    found = likelihood(reader, windows, 40, True)
    return [
        *(h_SN.numpy().tobytes() for h_SN in capture(reader, sentences, 100)["mean"]),
        (found.nll_W, found.tokens, found.bytes),
        [outcome.margin for outcome in cloze(reader, STORIES).outcomes],
        continued(reader, sentences[:4], 6),
    ]


# The prefix -----------------------------------------------------------------------------------------------------------


def test_the_prefix_is_what_the_tokenizer_puts_before_a_text_and_nothing_of_what_it_appends(read_as: Load) -> None:
    for name, ends in (("bos", False), ("bos and eos", True)):
        reader = read_as(name)
        assert reader.prefix == [bos(reader)]
        assert (reader.tokenizer("x")["input_ids"][-1] == reader.tokenizer.eos_token_id) == ends
        assert reader.sequences(["x", "No."]) == [ids_of(reader, "x"), ids_of(reader, "No.")]
    assert read_as("none").prefix == []
    assert read_as("bos", SpecialTokens.none).prefix == []


def test_the_prefix_in_words(folders: dict[str, Path]) -> None:
    def words(name: str, special_tokens: SpecialTokens) -> str:
        return text_beginning(folders[name], ModelConfig("tiny", path=str(folders[name]), special_tokens=special_tokens))

    assert words("bos and eos", SpecialTokens.model) == "<s>"
    assert words("none", SpecialTokens.model) == words("bos", SpecialTokens.none) == ""


def test_several_tokens_can_begin_a_text(read_as: Load) -> None:
    tokenizer = read_as("bos").tokenizer
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="</s> <s> $A </s>", special_tokens=ids)
    assert text_prefix(tokenizer, SpecialTokens.model) == [tokenizer.eos_token_id, tokenizer.bos_token_id]


def test_a_tokenizer_that_changes_the_text_is_refused() -> None:
    def tokenizer(_: str, add_special_tokens: bool, **__: object) -> dict[str, list[int]]:
        return {"input_ids": [1, 7, 8] if add_special_tokens else [5, 6]}

    assert text_prefix(tokenizer, SpecialTokens.none) == []
    with pytest.raises(
        InputError, match=r"(?s)model.special_tokens=model: .* other tokens .*Remedy: use model.special_tokens=none"
    ):
        text_prefix(tokenizer, SpecialTokens.model)


@pytest.mark.parametrize("name", TEMPLATES)
def test_without_special_tokens_every_bit_is_as_if_the_tokenizer_had_none(
    read_as: Load, sentences: list[str], name: str
) -> None:
    bare = everything(read_as("none"), sentences)
    assert everything(read_as(name, SpecialTokens.none), sentences) == bare
    with_prefix = everything(read_as(name), sentences)
    assert all((ours == theirs) == (name == "none") for ours, theirs in zip(with_prefix, bare, strict=True))


# Read, but not averaged -----------------------------------------------------------------------------------------------


@torch.no_grad()
def averaged_by_hand(reader: Reader, text: str, pool: Callable[[torch.Tensor], torch.Tensor]) -> list[np.ndarray]:
    """The sentence read alone after `<s>`, layer by layer: a hook on `down_proj` drops the first position of its input."""
    seen: list[torch.Tensor] = []
    handles = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 1:].double()))
        for layer in reader.model.model.layers
    ]
    reader.model(torch.tensor([ids_of(reader, text)]))
    for handle in handles:
        handle.remove()
    return [pool(h_TN).mean(dim=0).numpy() for h_TN in seen]


POOLS_BY_HAND = {"mean": lambda h_TN: h_TN, "rate": lambda h_TN: (h_TN > 0).double(), "magnitude": torch.abs}


@pytest.mark.parametrize("batch_tokens", [1, 40, 300, 10**6])
@pytest.mark.parametrize("pool", POOLS_BY_HAND)
def test_a_sentence_is_averaged_without_what_begins_it(
    begun: Reader, sentences: list[str], pool: str, batch_tokens: int
) -> None:
    h_L_SN = capture(begun, sentences, batch_tokens, [pool])[pool]
    for row, text in enumerate(sentences):
        for h_SN, expected_N in zip(h_L_SN, averaged_by_hand(begun, text, POOLS_BY_HAND[pool]), strict=True):
            np.testing.assert_allclose(h_SN[row], expected_N, rtol=1e-5, atol=1e-5)


def test_what_begins_a_sentence_is_read(begun: Reader, sentences: list[str]) -> None:
    """The control: the same mean, of sentences that were read without it."""
    h_L_SN, bare_L_SN = (capture(reader, sentences, 300)["mean"] for reader in (begun, replace(begun, prefix=[])))
    assert all((h_SN - bare_SN).abs().max() > 0.05 for h_SN, bare_SN in zip(h_L_SN[1:], bare_L_SN[1:], strict=True))


def test_only_the_tokens_of_a_sentence_are_counted(begun: Reader, parallel: dict[str, list[str]]) -> None:
    few = ParallelSentences(["a", "b", "c"], parallel)
    tokens_S = capture_sentences(begun, few, 300)["mean"].tokens_S
    assert tokens_S.tolist() == [len(ids_of(begun, text)) - 1 for texts in parallel.values() for text in texts]


def test_a_sentence_without_tokens_is_refused_whatever_begins_it(begun: Reader) -> None:
    with pytest.raises(InputError, match="dataset='': this sentence has no tokens"):
        capture(begun, ["a sentence", ""], 100)


def test_positions_count_for_the_context(begun: Reader, caplog: pytest.LogCaptureFixture) -> None:
    text = "The child reads a book in the garden."
    tokens = len(ids_of(begun, text))
    capture(replace(begun, context=tokens), [text], 300)
    assert not caplog.messages
    capture(replace(begun, context=tokens - 1), [text], 300)
    assert "1 of 1 sentences are longer than" in caplog.text


# Given, but not predicted ---------------------------------------------------------------------------------------------


@torch.no_grad()
def loss_of_the_model(reader: Reader, ids: list[int], given: int = 1) -> float:
    """Transformers' own loss with what begins a text masked out of the labels, summed over the tokens of the text."""
    labels = torch.tensor([[-100] * given + ids[given:]])
    return reader.model(input_ids=torch.tensor([ids]), labels=labels).loss.double().item() * (len(ids) - given)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
@pytest.mark.parametrize("kind", list(Windows))
def test_every_token_of_a_window_is_predicted_but_what_begins_it(
    begun: Reader, kind: Windows, batch_tokens: int, chunked: bool
) -> None:
    windows = text_windows(begun, DOCUMENTS, settings(kind, 24), "en")
    assert all(window.ids[0] == bos(begun) and bos(begun) not in window.ids[1:] for window in windows)
    found = likelihood(begun, windows, batch_tokens, chunked)
    assert found.nll_W == pytest.approx([loss_of_the_model(begun, window.ids) for window in windows], rel=1e-5)
    assert found.tokens == sum(len(window.ids) - 1 for window in windows)
    assert found.perplexity == pytest.approx(math.exp(found.nll / found.tokens), rel=1e-12)


@pytest.mark.parametrize("chunked", [True, False])
def test_of_several_tokens_that_begin_a_window_none_is_predicted(begun: Reader, chunked: bool) -> None:
    two = replace(begun, prefix=[5, bos(begun)])
    windows = text_windows(two, DOCUMENTS, settings(Windows.documents, 24), "en")
    found = likelihood(two, windows, 100, chunked)
    assert found.nll_W == pytest.approx([loss_of_the_model(two, window.ids, 2) for window in windows], rel=1e-5)
    assert found.tokens == sum(len(ids_of(begun, text)) - 1 for text in DOCUMENTS)


def test_a_window_is_as_long_as_the_context_with_what_begins_it(begun: Reader, caplog: pytest.LogCaptureFixture) -> None:
    windows = text_windows(replace(begun, context=24), DOCUMENTS, settings(window=None), "en")
    text = ids_of(begun, "\n\n".join(DOCUMENTS))[1:]
    assert len(windows) == len(text) // 23 > 2
    assert [window.ids for window in windows] == [
        [bos(begun), *text[start : start + 23]] for start in range(0, 23 * len(windows), 23)
    ]
    assert not caplog.messages


def test_the_bytes_are_those_of_the_whole_text(begun: Reader) -> None:
    for text in DOCUMENTS:
        (window,) = text_windows(begun, [text], settings(Windows.documents, 1000), "en")
        assert (window.tokens, window.bytes) == (len(ids_of(begun, text)) - 1, len(text.encode()))
    short = text_windows(begun, [" ".join(DOCUMENTS)], settings(Windows.documents, 16), "en")
    assert sum(window.bytes for window in short) == len(" ".join(DOCUMENTS).encode())


def test_a_document_of_one_token_can_be_predicted_and_one_of_none_cannot(begun: Reader) -> None:
    (window,) = text_windows(begun, ["x"], settings(Windows.documents), "fr")
    assert (window.ids, window.tokens, window.bytes) == (ids_of(begun, "x"), 1, 1)
    with pytest.raises(InputError, match="the text in fr is shorter than one window"):
        text_windows(begun, [""], settings(Windows.documents), "fr")


def test_a_window_with_nothing_to_predict_is_refused(begun: Reader) -> None:
    assert text_windows(begun, DOCUMENTS, settings(window=2), "en")
    two = replace(begun, prefix=2 * begun.prefix)
    with pytest.raises(InputError, match=r"(?s)text.window=2: .*first 2 tokens.*give text.window=3 or more"):
        text_windows(two, DOCUMENTS, settings(window=2), "en")
    assert text_windows(two, DOCUMENTS, settings(window=3), "en")


# The harness ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def log_likelihood(reader: Reader, ids: list[int], before: int) -> float:
    """The sum of log p over the tokens after the first `before`, read by themselves, in float64."""
    log_p_TV = reader.model(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
    return sum(log_p_TV[t - 1, ids[t]].item() for t in range(before, len(ids)))


def likelihoods_by_formula(reader: Reader) -> list[list[float]]:
    """Of both endings of each story, from one forward pass each."""
    return [
        [log_likelihood(reader, ids_of(reader, f"{prompt(story)} {ending}"), before) for ending in story.endings]
        for story in STORIES
        for before in [len(ids_of(reader, prompt(story)))]
    ]


def test_the_endings_of_a_story_are_scored_after_what_begins_it(begun: Reader) -> None:
    rows = treated(begun, STORIES)
    found = ending_likelihoods(begun, rows)
    np.testing.assert_allclose(found, likelihoods_by_formula(begun), rtol=1e-5)
    assert abs(ending_likelihoods(replace(begun, prefix=[]), rows)[0][0] - found[0][0]) > 1e-3


def sequences_read(reader: Reader, stories: list[Story]) -> list[list[int]]:
    """What the harness gives the model, sequence by sequence."""
    read: list[list[int]] = []
    handle = reader.model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"][0].tolist()), with_kwargs=True
    )
    samples_of(reader, treated(reader, stories), 1, shared=False)
    handle.remove()
    return sorted(read)


def test_the_harness_splits_a_text_as_the_reader_does(begun: Reader) -> None:
    texts = [f"{prompt(story)} {ending}" for story in STORIES for ending in story.endings]
    assert sequences_read(begun, STORIES) == sorted(ids_of(begun, text)[:-1] for text in texts)
    with quiet_harness():
        model = harness_model(begun, Reading(4096, chunked=True), [])
    assert [model.tok_encode(text) for text in texts] == begun.sequences(texts)
    ids_BT, mask_BT = model.tok_batch_encode(texts)
    assert [ids_T[mask_T.bool()].tolist() for ids_T, mask_T in zip(ids_BT, mask_BT, strict=True)] == begun.sequences(texts)


def test_a_story_that_is_too_long_loses_its_first_words_and_keeps_what_begins_it(
    begun: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    narrow = replace(begun, context=30)
    whole = sorted(ids_of(begun, f"{prompt(story)} {ending}") for story in STORIES for ending in story.endings)
    assert sorted(map(len, whole)) == sorted(lengths(begun, STORIES))
    expected = [[bos(begun), *ids[1:][-30:]][:-1] if len(ids) > 31 else ids[:-1] for ids in whole]
    assert [bos(begun), 30] in [[ids[0], len(ids)] for ids in expected]
    assert sequences_read(narrow, STORIES) == sorted(expected)
    warn_of_lengths(narrow, {"en": STORIES}, {"en": lengths(narrow, STORIES)}, 4096)
    assert f"{sum(len(ids) > 30 for ids in whole)} of 4 stories" in caplog.text


class Request:
    """A request of the harness."""

    task_name = None

    def __init__(self, *args: str) -> None:
        self.args = args


def test_a_text_by_itself_is_predicted_after_what_begins_it(begun: Reader) -> None:
    """Tasks ask for the likelihood of a whole text, or of one after an empty one."""
    with quiet_harness():
        model = harness_model(begun, Reading(4096, chunked=True), [])
        (rolled,) = model.loglikelihood_rolling([Request(DOCUMENTS[0])])
        ((alone, _),) = model.loglikelihood([Request("", DOCUMENTS[0])])
    assert rolled == pytest.approx(log_likelihood(begun, ids_of(begun, DOCUMENTS[0]), 1), rel=1e-5)
    assert alone == pytest.approx(rolled, rel=1e-5)
    assert model.tok_encode("x") == ids_of(begun, "x")


# Continuations --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def greedy_by_hand(reader: Reader, text: str, new_tokens: int) -> list[int]:
    """The likeliest token again and again, each from a whole forward pass over `<s>`, the text and what came before."""
    ids, found = ids_of(reader, text), []
    while len(found) < new_tokens:
        token = int(reader.model(torch.tensor([ids + found])).logits[0, -1].argmax())
        if token == reader.tokenizer.eos_token_id:
            break
        found.append(token)
    return found


def test_a_continuation_follows_a_text_that_was_begun(begun: Reader) -> None:
    prompts = ["The child", "x", "孩子在花园里", "बच्चा बगीचे में"]
    expected = [greedy_by_hand(begun, prompt, 12) for prompt in prompts]
    assert continued(begun, prompts, 12) == expected
    assert continued(replace(begun, prefix=[]), prompts, 12) != expected


# A run ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs the command on the tiny LLaMA with `<s>`; returns the run folder."""
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(tmp_path / "cache"))

    def run_command(name: str, *overrides: str) -> Path:
        model = [
            "model=local",
            f"model.path={folders['bos and eos']}",
            "dataset.sentences=3",
            "text.window=32",
            "tracking=none",
        ]
        arguments = [*model, f"hydra.run.dir={tmp_path / name}", *overrides]
        monkeypatch.setattr(sys, "argv", ["lf_experiments", *arguments])
        command.main()
        return tmp_path / name

    return run_command


def test_a_run_says_how_every_text_began_and_keeps_what_was_read_apart(run: Callable[..., Path], tmp_path: Path) -> None:
    stages = "stages=[capture,report]"
    begun, bare = run("model", stages), run("none", "model.special_tokens=none", stages)
    for folder, mode, words in ((begun, "model", "<s>"), (bare, "none", "")):
        record = json.loads((folder / "run.json").read_text())
        assert (record["config"]["model"]["special_tokens"], record["model"]["texts_begin_with"]) == (mode, words)
    assert "every text begins with &lt;s&gt;" in (begun / "report.html").read_text()
    assert "every text begins with" not in (bare / "report.html").read_text()
    assert (begun / "samples.csv").read_text() == (bare / "samples.csv").read_text()
    assert len(list((tmp_path / "cache" / "captures").iterdir())) == 2
    before = (begun / "samples.csv").stat().st_mtime_ns
    run("model", stages)
    assert (begun / "samples.csv").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="other inputs .capture.: model.special_tokens model -> none"):
        run("model", stages, "model.special_tokens=none")


def test_a_plan_counts_what_begins_every_text(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    def sentence_tokens(*overrides: str) -> int:
        run("plan", "plan=true", "hardware.throughput=1e12", "stages=[capture]", *overrides)
        return int(re.search(r"sentences +([\d,]+) +in 27 sentences", capsys.readouterr().out)[1].replace(",", ""))

    assert sentence_tokens() == sentence_tokens("model.special_tokens=none") + 27


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_the_retired_key_is_refused_on_the_command_line(run: Callable[..., Path], plus: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("retired", f"{plus}model.add_special_tokens=true")
    assert re.fullmatch(
        "error: model.add_special_tokens=true: this key is gone\nRemedy: write model.special_tokens=model .*none.*",
        str(stopped.value.code),
    )


def test_the_retired_key_is_refused_in_a_yaml_file(run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    file = tmp_path / "conf" / "model" / "mine.yaml"
    file.write_text("# Mine.\nname: mine\npath: /models/mine\nadd_special_tokens: false\n")
    with pytest.raises(
        SystemExit, match="error: model.add_special_tokens=False: this key is gone\nRemedy: write model.special"
    ):
        run("retired", "model=mine", f"hydra.searchpath=[file://{tmp_path / 'conf'}]")


def test_another_value_is_refused_with_the_choices(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("wrong", "model.special_tokens=bos")
    assert "expected one of [model, none]" in capsys.readouterr().err
