"""Continuations: greedy by hand, in batches as one by one, with a region off; and what is said of them."""

import json
import math
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from scored import continued
from transformers import GenerationConfig

from lf_experiments.errors import InputError
from lf_experiments.evaluations import generation
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.generation import (
    FiniteLogits,
    continuations,
    continue_prompts,
    end_tokens,
    repetition,
    script_share,
    until_end,
)
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import NONE, Intervention, Treated, nothing

PROMPTS = {"en": ["The child", "x"], "zh": ["孩子在花园里"], "hi": ["बच्चा बगीचे में"]}
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def regions(reader: Reader) -> list[Intervention]:
    """Nothing, and half of all neurons."""
    return [nothing(reader.widths), Intervention("zh", [torch.arange(width) % 2 == 0 for width in reader.widths])]


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


def test_continuations_are_the_likeliest_tokens_one_by_one(reader: Reader, regions: list[Intervention]) -> None:
    prompts = [prompt for texts in PROMPTS.values() for prompt in texts]
    for region in regions:
        found = continued(reader, prompts, NEW_TOKENS, region)
        with reader.intervened(region):
            assert found == [greedy_by_hand(reader, prompt, NEW_TOKENS) for prompt in prompts]


def test_rows_of_one_batch_are_continued_each_under_its_own_intervention(reader: Reader, regions: list[Intervention]) -> None:
    zeroed, value_L_N = regions[1].where_L_N, [torch.linspace(-1, 1, width) for width in reader.widths]
    others = [
        Intervention("zh", zeroed, dose=0.5), Intervention("fr", [~where_N for where_N in zeroed]),
        Intervention("moved", zeroed, kind="mean", value_L_N=value_L_N), Intervention("scaled", zeroed, kind="scale", dose=2.0),
    ]  # fmt: skip
    prompts = ["The child", "孩子在花园里", "x"]
    rows = [Treated(prompt, under) for prompt in prompts for under in [*regions, *others]]
    found = dict(continuations(reader, rows, NEW_TOKENS))
    expected = []
    for prompt, under in rows:
        with reader.intervened(under):
            expected.append(greedy_by_hand(reader, prompt, NEW_TOKENS))
    assert [found[position] for position in range(len(rows))] == expected
    assert len({tuple(ids) for ids in expected[:6]}) >= 4


SETTINGS = {
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 2,
    "num_beams": 4,
    "suppress_tokens": list(range(40, 300)),
    "begin_suppress_tokens": list(range(40, 200)),
    "min_length": 40,
    "min_new_tokens": 9,
    "max_new_tokens": 2,
    "do_sample": True,
    "forced_eos_token_id": 5,
    "renormalize_logits": True,
    "guidance_scale": 3.0,
    "return_dict_in_generate": True,
    "prompt_lookup_num_tokens": 3,
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_of_the_models_own_is_followed(load, model_folder: Path, tmp_path: Path, setting: str) -> None:
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({setting: SETTINGS[setting]}))
    reader = load(tmp_path)
    assert getattr(reader.model.generation_config, setting) == SETTINGS[setting]
    prompts = [prompt for texts in PROMPTS.values() for prompt in texts]
    assert continued(reader, prompts, NEW_TOKENS) == [greedy_by_hand(reader, prompt, NEW_TOKENS) for prompt in prompts]
    assert getattr(reader.model.generation_config, setting) == SETTINGS[setting]  # the model is left as it was


@pytest.mark.parametrize("as_list", [False, True])
def test_the_end_tokens_are_those_of_the_model_and_of_the_tokenizer(
    load, model_folder: Path, tmp_path: Path, reader: Reader, as_list: bool
) -> None:
    whole = greedy_by_hand(reader, "The child", NEW_TOKENS)
    end = whole[-1]
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [end, 6] if as_list else end}))
    ended = load(tmp_path)
    assert end_tokens(ended) == sorted({reader.tokenizer.eos_token_id, end, *([6] if as_list else [])})
    assert continued(ended, ["The child"], NEW_TOKENS) == [whole[: whole.index(end)]]


def test_a_model_without_an_end_writes_on(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.model, "generation_config", GenerationConfig())
    endless = replace(reader, tokenizer=deepcopy(reader.tokenizer))
    endless.tokenizer.eos_token = None
    assert end_tokens(endless) == []
    assert len(continued(endless, ["The child"], 30)[0]) == 30


@pytest.mark.parametrize("damage", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(load, model_folder: Path, regions: list[Intervention], damage: float) -> None:
    reader = load(model_folder)
    hindi = reader.token_ids(PROMPTS["hi"])[0][-1]
    reader.model.get_input_embeddings().weight.data[hindi] = damage
    with pytest.raises(InputError, match=r"(?s)model.dtype.*intervention zh .* NaN or infinite logits on sentences in hi"):
        continue_prompts(reader, regions[1:], {"hi": PROMPTS["hi"], "en": PROMPTS["en"]}, NEW_TOKENS, KeptCells())


def test_a_padding_token_with_infinite_embeddings_spoils_no_prompt(
    load, model_folders: dict[str, Path], reader: Reader
) -> None:
    reader = load(model_folders["llama"])
    expected = continued(reader, ["The child", "x"], NEW_TOKENS)
    reader.model.get_input_embeddings().weight.data[0] = math.inf
    assert continued(reader, ["The child", "x"], NEW_TOKENS) == expected


def test_minus_infinity_rules_a_token_out_and_is_finite() -> None:
    logits = FiniteLogits()
    for row in ([0.0, -math.inf, 1.0], [1.0, 2.0, -math.inf]):
        given = torch.tensor([row, [math.nan, 0.0, 0.0] if row[0] else [0.0, 0.0, 0.0]])
        assert logits(torch.empty(2, 0), given) is given
    assert logits.finite_B.tolist() == [True, False]


def test_nothing_to_continue_is_nothing(reader: Reader) -> None:
    assert dict(continuations(reader, [], NEW_TOKENS)) == {}


def test_the_table_holds_every_prompt_under_every_deactivation(
    reader: Reader, regions: list[Intervention], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    table = continue_prompts(reader, regions, PROMPTS, NEW_TOKENS, KeptCells(keep=lambda rows: kept.append(len(rows))))
    assert kept == [2, 1, 1] * 2
    assert list(table.columns) == ["deactivated", "draw", "dose", "language", "prompt", "text", "script_share", "repetition"]
    assert list(table["deactivated"]) == [NONE] * 4 + ["zh"] * 4
    assert list(table["language"]) == ["en", "en", "zh", "hi"] * 2
    ids = greedy_by_hand(reader, "The child", NEW_TOKENS)
    assert table.loc[0, "text"] == reader.tokenizer.decode(ids)
    assert table.loc[0, "repetition"] == repetition(ids)
    assert list(table["text"][:4]) != list(table["text"][4:])
    monkeypatch.setattr(generation, "KEPT_BYTES", 0)
    one_by_one = continue_prompts(reader, regions, PROMPTS, NEW_TOKENS, KeptCells())
    pd.testing.assert_frame_equal(table, one_by_one)


def test_deactivations_that_are_there_are_not_run_again(
    reader: Reader, regions: list[Intervention], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[dict]] = []
    whole = continue_prompts(reader, regions, PROMPTS, NEW_TOKENS, KeptCells(keep=lambda rows: left.append(list(rows))))
    of_full_model = [row for rows in left[: len(PROMPTS)] for row in rows]  # the rows of three cells
    runs = []
    generate = type(reader.model).generate
    monkeypatch.setattr(type(reader.model), "generate", lambda *a, **k: runs.append(1) or generate(*a, **k))
    resumed = continue_prompts(reader, regions, PROMPTS, NEW_TOKENS, KeptCells(of_full_model))
    assert len(runs) == 1
    pd.testing.assert_frame_equal(resumed, whole)


def test_broken_characters_are_shown(reader: Reader, regions: list[Intervention], monkeypatch: pytest.MonkeyPatch) -> None:
    half = reader.token_ids(["水"])[0][:1]
    module = "lf_experiments.evaluations.generation.continuations"
    monkeypatch.setattr(module, lambda *_: iter([(0, half)]))
    table = continue_prompts(reader, regions[:1], {"zh": ["x"]}, 1, KeptCells())
    assert table.loc[0, "text"] == "\N{REPLACEMENT CHARACTER}"
    assert table.loc[0, "script_share"] == 0


def test_what_follows_the_end_is_padding() -> None:
    assert until_end([5, 6, 2, 0, 0], [2]) == [5, 6]
    assert until_end([2], [2]) == []
    assert until_end([5, 6], [2]) == [5, 6]
    assert until_end([5, 6], []) == [5, 6]
    assert until_end([5, 3, 2], [2, 3]) == [5]


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
