"""Real models, where they lie on this machine: read as transformers alone reads them, and as they were trained.

LF_EXPERIMENTS_REAL_MODELS names the folder of the models, by default ../shared/real: a Hugging Face folder each.
LF_EXPERIMENTS_NTREX names that of the sentences, by default ../shared/data/ntrex: a `<code>.txt` per language.
"""

import math
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from scored import continued, likelihood
from transformers import AutoModelForCausalLM, AutoTokenizer

import lf_experiments as lf
from lf_experiments.config.schema import TextConfig
from lf_experiments.evaluations.losses import head_can_be_chunked
from lf_experiments.evaluations.perplexity import Likelihood
from lf_experiments.evaluations.windows import text_windows
from lf_experiments.languages import script_share
from lf_experiments.models.load import Reader

SHARED = Path(__file__).parents[2] / "shared"
MODELS = Path(os.environ.get("LF_EXPERIMENTS_REAL_MODELS", SHARED / "real"))
NTREX = Path(os.environ.get("LF_EXPERIMENTS_NTREX", SHARED / "data" / "ntrex"))
BEGINNINGS = {"gemma3-270m": "<bos>", "smollm2-135m": None, "qwen2.5-coder-0.5b": None}
"""What the tokenizer of each model puts before every text."""
GOES_ON = {"gemma3-270m": ["en", "fr", "zh"], "smollm2-135m": ["en"], "qwen2.5-coder-0.5b": ["en", "zh"]}
"""The languages that each model can write."""
WINDOWS, WINDOW = 20, 128

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not NTREX.is_dir(), reason=f"{NTREX} is not here")]


@pytest.fixture(scope="module", params=BEGINNINGS)
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each model in turn, in float32."""
    return loaded(request.param)


@pytest.fixture(scope="module")
def gemma() -> Reader:
    return loaded("gemma3-270m")


@cache
def loaded(name: str) -> Reader:
    """A model as its tokenizer says; skips the test where it is not on this machine."""
    if not (MODELS / name / "config.json").is_file():
        pytest.skip(f"{MODELS / name} is not here")
    return lf.load(MODELS / name, dtype="float32")


def lines(language: str) -> list[str]:
    return (NTREX / f"{language}.txt").read_text(encoding="utf-8").splitlines()


def measured(reader: Reader) -> Likelihood:
    """The first windows of the English news."""
    windows = text_windows(reader, lines("en"), TextConfig("ntrex", "files", window=WINDOW), "en")
    return likelihood(reader, windows[:WINDOWS], 512, head_can_be_chunked(reader))


@torch.no_grad()
def perplexity_by_transformers(folder: Path) -> float:
    """The same text with nothing but transformers: every window begins as the tokenizer begins an empty text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    begin = tokenizer("")["input_ids"]
    ids = tokenizer("\n\n".join(lines("en")), add_special_tokens=False)["input_ids"]
    room, total, tokens = WINDOW - len(begin), 0.0, 0
    for start in range(0, WINDOWS * room, room):
        ids_1T = torch.tensor([begin + ids[start : start + room]])
        labels_1T = ids_1T.clone()
        labels_1T[:, : len(begin)] = -100
        predicted = int((labels_1T[:, 1:] != -100).sum())
        total += model(ids_1T, labels=labels_1T).loss.item() * predicted
        tokens += predicted
    return math.exp(total / tokens)


def test_the_perplexity_of_news_is_that_of_transformers_alone(reader: Reader) -> None:
    name = Path(reader.model.name_or_path).name
    assert reader.prefix == reader.tokenizer.convert_tokens_to_ids([BEGINNINGS[name]] if BEGINNINGS[name] else [])
    found = measured(reader)
    assert found.tokens == WINDOWS * (WINDOW - 1)
    assert found.perplexity == pytest.approx(perplexity_by_transformers(MODELS / name), rel=1e-3)
    assert 5 < found.perplexity < 100, "a model that can read English"


def test_gemma_is_lost_without_what_begins_every_text(gemma: Reader) -> None:
    assert measured(replace(gemma, prefix=[])).perplexity > 5 * measured(gemma).perplexity


def test_the_whole_model_goes_on_in_the_language_of_the_sentence(reader: Reader) -> None:
    languages = GOES_ON[Path(reader.model.name_or_path).name]
    unmixed = [next(line for line in lines(code) if script_share(line, code) == 1) for code in languages]  # no foreign names
    found = continued(reader, unmixed, 32)
    for code, ids in zip(languages, found, strict=True):
        text = reader.tokenizer.decode(ids)
        assert len(ids) > 8 and "<h2>" not in text and script_share(text, code) > 0.8, text


@torch.no_grad()
def neurons_by_transformers(folder: Path, sentences: list[str], begun: bool) -> list[torch.Tensor]:
    """Per layer (sentences, neurons): the mean of what enters the second MLP matrix, sentence by sentence, without `<bos>`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    seen_TN: dict[int, torch.Tensor] = {}
    for number, layer in enumerate(model.model.layers):
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, given, at=number: seen_TN.update({at: given[0][0]}))
    rows_L = []
    for sentence in sentences:
        begin = [tokenizer.bos_token_id] if begun else []
        model(torch.tensor([begin + tokenizer(sentence, add_special_tokens=False)["input_ids"]]))
        rows_L.append([seen_TN[number][len(begin) :].double().mean(dim=0) for number in sorted(seen_TN)])
    return [torch.stack(rows) for rows in zip(*rows_L, strict=True)]


@pytest.mark.parametrize("begun", [True, False])
def test_the_neurons_are_those_that_transformers_alone_shows(gemma: Reader, begun: bool) -> None:
    corpus = lf.sentences("ntrex", root=NTREX, languages=["en", "ar", "zh"], sentences=4)
    found = lf.capture(gemma if begun else replace(gemma, prefix=[]), corpus)
    sentences = [sentence for texts in corpus.texts.values() for sentence in texts]
    expected = neurons_by_transformers(MODELS / "gemma3-270m", sentences, begun)
    for found_SN, expected_SN in zip(found.h_L_SN, expected, strict=True):
        torch.testing.assert_close(found_SN.double(), expected_SN, rtol=1e-3, atol=1e-4)


LRDS = {"model": 0.2062, "none": 0.1468}
"""Of the 100 sentences in nine languages that seed 0 draws, from hooks of transformers alone, one sentence at a time."""


@pytest.mark.parametrize("special_tokens", LRDS)
def test_languages_are_further_apart_where_gemma_is_read_as_it_was_trained(gemma: Reader, special_tokens: str) -> None:
    corpus = lf.sentences("ntrex", root=NTREX, sentences=100)
    reader = gemma if special_tokens == "model" else replace(gemma, prefix=[])
    found = lf.compare(lf.capture(reader, corpus, batch_tokens=2048), ["lrds"]).whole["lrds"]
    assert found == pytest.approx(LRDS[special_tokens], abs=5e-4)
