"""Continuations: greedy by hand, in batches as one by one, with a region off; and what is said of them."""

import pandas as pd
import pytest
import torch

from lf_experiments.evaluations.deactivation import NOTHING, Deactivation
from lf_experiments.evaluations.generation import continuations, generation_table, repetition, script_share, until_end
from lf_experiments.models.load import Reader
from lf_experiments.neurons.deactivate import deactivated

PROMPTS = {"en": ["The child", "x"], "zh": ["孩子在花园里"], "hi": ["बच्चा बगीचे में"]}
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def regions(reader: Reader) -> list[Deactivation]:
    """Nothing, and half of all neurons."""
    nothing = torch.zeros(len(reader.sites), reader.num_neurons_per_layer, dtype=torch.bool)
    half = nothing.clone()
    half[:, ::2] = True
    return [Deactivation(NOTHING, 0, nothing), Deactivation("zh", 0, half)]


def greedy_by_hand(reader: Reader, prompt: str, new_tokens: int) -> list[int]:
    """The likeliest token again and again, each from a whole forward pass over an unpadded sequence."""
    ids = reader.token_ids([prompt])[0]
    found: list[int] = []
    with torch.no_grad():
        while len(found) < new_tokens:
            token = int(reader.model(torch.tensor([ids + found])).logits[0, -1].argmax())
            if token == reader.tokenizer.eos_token_id:
                break
            found.append(token)
    return found


def test_continuations_are_the_likeliest_tokens_one_by_one(reader: Reader, regions: list[Deactivation]) -> None:
    prompts = [prompt for texts in PROMPTS.values() for prompt in texts]
    for region in regions:
        found = dict(continuations(reader, prompts, NEW_TOKENS, region.off_LN))
        with deactivated(reader.sites, region.off_LN):
            assert [found[position] for position in range(len(prompts))] == [
                greedy_by_hand(reader, prompt, NEW_TOKENS) for prompt in prompts
            ]


def test_nothing_to_continue_is_nothing(reader: Reader, regions: list[Deactivation]) -> None:
    assert dict(continuations(reader, [], NEW_TOKENS, regions[0].off_LN)) == {}


def test_the_table_holds_every_prompt_under_every_deactivation(reader: Reader, regions: list[Deactivation]) -> None:
    kept: list[int] = []
    table = generation_table(reader, regions, PROMPTS, NEW_TOKENS, [], lambda rows: kept.append(len(rows)))
    assert kept == [4, 8]
    assert list(table.columns) == ["deactivated", "language", "prompt", "text", "script_share", "repetition"]
    assert list(table["deactivated"]) == [NOTHING] * 4 + ["zh"] * 4
    assert list(table["language"]) == ["en", "en", "zh", "hi"] * 2
    ids = greedy_by_hand(reader, "The child", NEW_TOKENS)
    assert table.loc[0, "text"] == reader.tokenizer.decode(ids)
    assert table.loc[0, "repetition"] == repetition(ids)
    assert list(table["text"][:4]) != list(table["text"][4:])


def test_deactivations_that_are_there_are_not_run_again(
    reader: Reader, regions: list[Deactivation], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = generation_table(reader, regions, PROMPTS, NEW_TOKENS, [], lambda _: None)
    runs = []
    generate = type(reader.model).generate
    monkeypatch.setattr(type(reader.model), "generate", lambda *a, **k: runs.append(1) or generate(*a, **k))
    resumed = generation_table(reader, regions, PROMPTS, NEW_TOKENS, whole[:4].to_dict("records"), lambda _: None)
    assert len(runs) == 1
    pd.testing.assert_frame_equal(resumed, whole)


def test_broken_characters_are_shown(reader: Reader, regions: list[Deactivation], monkeypatch: pytest.MonkeyPatch) -> None:
    half = reader.token_ids(["水"])[0][:1]
    module = "lf_experiments.evaluations.generation.continuations"
    monkeypatch.setattr(module, lambda *_: iter([(0, half)]))
    table = generation_table(reader, regions[:1], {"zh": ["x"]}, 1, [], lambda _: None)
    assert table.loc[0, "text"] == "\N{REPLACEMENT CHARACTER}"
    assert table.loc[0, "script_share"] == 0


def test_what_follows_the_end_is_padding() -> None:
    assert until_end([5, 6, 2, 0, 0], 2) == [5, 6]
    assert until_end([2], 2) == []
    assert until_end([5, 6], 2) == [5, 6]
    assert until_end([5, 6], None) == [5, 6]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The child, 123!", "en", 1.0),
        ("孩子 ab", "zh", 0.5),
        ("孩子", "en", 0.0),
        ("الطفل child", "ar", 0.5),
        ("बच्चा a", "hi", 3 / 4),
        ("é à ñ", "fr", 1.0),
        ("水\N{REPLACEMENT CHARACTER}", "zh", 0.5),
        ("カタ漢かx", "ja", 0.8),
    ],
)
def test_the_share_of_letters_in_the_script(text: str, language: str, expected: float) -> None:
    assert script_share(text, language) == pytest.approx(expected)


@pytest.mark.parametrize(("text", "language"), [("", "en"), ("12 !", "en"), ("abc", "no language")])
def test_without_letters_or_script_there_is_no_share(text: str, language: str) -> None:
    assert script_share(text, language) is None


def test_repetition_counts_runs_of_four() -> None:
    assert repetition([1, 2, 3, 4, 5, 6]) == 0
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition([7] * 10) == pytest.approx(6 / 7)
    assert repetition([1, 2, 3]) == 0
