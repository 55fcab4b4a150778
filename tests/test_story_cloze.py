"""The story cloze: log-likelihoods by the formula, the tokens of the reader, the manners of the harness, and the table."""

import ast
import json
import math
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from scipy import stats
from scored import cloze, ending_likelihoods, samples_of, treated
from tokenizers.processors import TemplateProcessing

from lf_experiments.config.schema import Dtype, ModelConfig, SpecialTokens
from lf_experiments.corpora.story import Story
from lf_experiments.errors import InputError
from lf_experiments.evaluations import beginnings, cloze_task, harness, story_cloze
from lf_experiments.evaluations.beginnings import scores_after
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.cloze_task import prompt
from lf_experiments.evaluations.reading import Reading
from lf_experiments.evaluations.story_cloze import cloze_table, judge, mean_accuracy, measure_cloze, story_table
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.models.special_tokens import text_prefix
from lf_experiments.neurons.interventions import NONE, RANDOM, Intervention, Treated, nothing

BEGINNINGS = {
    "kitchen": ["El niño come pan.", "Luego bebe té.", "Es tarde.", "Abre la puerta."],
    "garden": ["孩子在花园里看书。", "下雨了。", "他不怕。", "书湿了。"],
    "bridge": ["बच्चा पुल के पास है।", "वह गाता है।", "घोड़ा आता है।", "वह डरता है।"],
    "river": ["No.", "Yes.", "No.", "Yes."],
    "horse": ["L'enfant lit.", "Il boit.", "Il dort.", "La pluie tombe."],
}

STORIES = [
    Story("kitchen", BEGINNINGS["kitchen"], ("He goes out.", "The sea sings."), 0),
    Story("garden", BEGINNINGS["garden"], ("He closes the door.", "He closes the book."), 1),
    Story("bridge", BEGINNINGS["bridge"], ("He runs.", "She reads a long letter."), 0),
    Story("river", BEGINNINGS["river"], ("The rain ends and my sister laughs.", "No."), 1),
    Story("horse", BEGINNINGS["horse"], ("It falls on the horse.", "It falls on the house."), 0),
]


@torch.no_grad()
def log_likelihood(reader: Reader, story: Story, ending: str) -> float:
    """The sum of log p(token | what stands before it) over the tokens of the ending, read by itself, in float64."""
    beginning = " ".join(story.sentences) + " The ending in English:"
    before = len(reader.sequences([beginning])[0])
    ids = reader.sequences([f"{beginning} {ending}"])[0]
    logits_TV = reader.model(input_ids=torch.tensor([ids])).logits[0].double()
    return sum((logits_TV[t - 1, ids[t]] - logits_TV[t - 1].exp().sum().log()).item() for t in range(before, len(ids)))


def likelier(reader: Reader, story: Story) -> int:
    """Which of the endings is the likelier, by the formula."""
    first, second = (log_likelihood(reader, story, ending) for ending in story.endings)
    return 0 if first > second else 1


def half_off(reader: Reader, name: str = "zh", draw: int = 0) -> Intervention:
    """Every other neuron off."""
    return Intervention(name, [torch.arange(width) % 2 == 0 for width in reader.widths], draw)


def nothing_off(reader: Reader, name: str = NONE, draw: int = 0) -> Intervention:
    return replace(nothing(reader.widths), name=name, draw=draw)


def expected(reader: Reader, stories: list[Story] = STORIES) -> list[list[float]]:
    return [[log_likelihood(reader, story, ending) for ending in story.endings] for story in stories]


def test_the_prompt_is_that_of_the_paper() -> None:
    sentences = [
        "La madre le dijo a sus hijos que comerían en quince minutos.",
        "Pero, entonces, recibió una llamada importante.",
        "Mientras hablaba, el perro llenó toda la cocina de barro.",
        "Los niños empezaron a fastidiar a su madre, que seguía al teléfono.",
    ]
    endings = ("The mother felt quite frustrated.", "The children’s behavior calmed the mother down.")
    assert prompt(Story("1", sentences, endings, 0)) == (
        "La madre le dijo a sus hijos que comerían en quince minutos. Pero, entonces, recibió una llamada importante. "
        "Mientras hablaba, el perro llenó toda la cocina de barro. Los niños empezaron a fastidiar a su madre, que seguía "
        "al teléfono. The ending in English:"
    )


@pytest.mark.parametrize("batch_tokens", [1, 300, 10_000])
def test_log_likelihoods_are_those_of_the_formula_whatever_the_batch(reader: Reader, batch_tokens: int) -> None:
    found = ending_likelihoods(reader, treated(reader, STORIES), batch_tokens)
    np.testing.assert_allclose(found, expected(reader), rtol=1e-5)


@pytest.mark.parametrize("batch_tokens", [300, 10_000])
def test_stories_of_one_batch_are_read_each_under_its_own_intervention(reader: Reader, batch_tokens: int) -> None:
    half = half_off(reader)
    off = [nothing(reader.widths), half, replace(half, dose=0.5), replace(half, kind="scale")]
    rows = [Treated(story, under) for story in STORIES for under in off]
    one_by_one = {}
    for under in off:
        with reader.intervened(under):
            one_by_one[under.kind, under.dose, under.name] = expected(reader)
    by_formula = [one_by_one[under.kind, under.dose, under.name][number // len(off)] for number, (_, under) in enumerate(rows)]
    np.testing.assert_allclose(ending_likelihoods(reader, rows, batch_tokens), by_formula, rtol=1e-5)
    assert len({round(first, 2) for first, _ in by_formula[:4]}) == 4


def test_the_answers_are_those_that_the_harness_itself_gives(reader: Reader) -> None:
    """Its own batches and its own softmax, one request at a time; among them continuations of one token in one context."""
    lm = harness.harness_model(reader, Reading(200, chunked=True, shared=True), [])
    context, likeliest = reader.sequences([prompt(STORIES[0])])[0], []
    with torch.no_grad():
        likeliest = [int(reader.model(torch.tensor([context])).logits[0, -1].argmax())]
    asked = [(context, ids) for ids in ([7], [9], likeliest, [7, 9, 11], [*likeliest, 5])]
    asked += [(reader.sequences([text])[0], [3, 4, 5]) for text in ("x", "No. Yes.", STORIES[1].sentences[0])]
    requests = [(("", ""), *each) for each in asked]
    answers = lm._loglikelihood_tokens(requests)
    of_harness = HFLM._loglikelihood_tokens(lm, requests, disable_tqdm=True, override_bs=1)
    assert [likelihood for likelihood, _ in answers] == pytest.approx([likelihood for likelihood, _ in of_harness], rel=1e-5)
    assert [greedy for _, greedy in answers] == [greedy for _, greedy in of_harness] == [False, False, True, *[False] * 5]


def test_log_likelihoods_are_in_float32_where_the_weights_are_not(load: Callable[..., Reader], model_folder: Path) -> None:
    reader = load(model_folder, Dtype.bfloat16)
    np.testing.assert_allclose(ending_likelihoods(reader, treated(reader, STORIES), 1), expected(reader), rtol=5e-4)


def test_the_task_has_the_paper_s_words(reader: Reader) -> None:
    sample = samples_of(reader, treated(reader, STORIES))[0]
    assert sample["arguments"] == [(prompt(STORIES[0]), " He goes out."), (prompt(STORIES[0]), " The sea sings.")]


def test_accuracy_and_standard_error(reader: Reader) -> None:
    winners = [likelier(reader, story) for story in STORIES]
    told = [replace(story, right=winner) for story, winner in zip(STORIES, winners, strict=True)]
    told[1], told[3] = (replace(story, right=1 - story.right) for story in (told[1], told[3]))
    result = cloze(reader, told)
    assert [outcome.right for outcome in result.outcomes] == [True, False, True, False, True]
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.stderr == pytest.approx(math.sqrt(3 / 5 * 2 / 5 / (5 - 1)))
    assert result.items == 5
    everyone = [replace(story, right=winner) for story, winner in zip(STORIES, winners, strict=True)]
    assert cloze(reader, everyone, 4096).accuracy == 1
    alone = cloze(reader, everyone[:1], 4096)
    assert (alone.accuracy, alone.stderr, alone.items) == (1, None, 1)


def test_the_margin_is_the_likelihood_of_the_right_ending_over_that_of_the_wrong(reader: Reader) -> None:
    right = [story.right for story in STORIES]
    margins = [likelihoods[r] - likelihoods[1 - r] for r, likelihoods in zip(right, expected(reader), strict=True)]
    outcomes = cloze(reader, STORIES).outcomes
    assert [outcome.margin for outcome in outcomes] == pytest.approx(margins, abs=1e-4)
    assert [outcome.right for outcome in outcomes] == [margin > 0 for margin in margins]


def test_of_equal_endings_the_first_wins(reader: Reader) -> None:
    story = replace(STORIES[0], endings=("He runs.", "He runs."))
    assert cloze(reader, [replace(story, right=0), replace(story, right=1)], 4096).outcomes == [(True, 0.0), (False, 0.0)]


def test_logits_that_are_not_finite_are_refused(load: Callable[..., Reader], model_folder: Path) -> None:
    reader = load(model_folder)
    for parameter in reader.model.get_output_embeddings().parameters():
        parameter.data[7] = math.nan
    assert reader.token_ids([prompt(STORIES[0])])
    with pytest.raises(
        InputError, match=r"(?s)model.dtype.*the model gives NaN or infinite logits on the stories in es.*float32"
    ):
        measure_cloze(reader, [nothing(reader.widths)], {"es": STORIES}, 4096, KeptCells())


def test_a_story_much_longer_than_a_batch_is_named(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    told = [STORIES[0], replace(STORIES[1], name="long", sentences=["He runs. " * 60])]
    measure_cloze(reader, [nothing(reader.widths)], {"es": told}, 100, KeptCells())
    assert [message.split(" tokens")[0] for message in caplog.messages] == [f"Story long has {max(tokens(reader, told))}"]


def tokens(reader: Reader, stories: list[Story]) -> list[int]:
    """Of every story with each of its endings."""
    return [len(ids) for ids in reader.token_ids([f"{prompt(story)} {end}" for story in stories for end in story.endings])]


def test_every_story_has_a_row_of_its_own(reader: Reader) -> None:
    stories, left = {"es": STORIES[:3], "zh": STORIES[1:]}, []
    off = [nothing(reader.widths), half_off(reader)]
    cells = measure_cloze(reader, off, stories, 4096, KeptCells(keep=lambda rows: left.extend(json.loads(json.dumps(rows)))))
    table = story_table(cells, stories)
    assert list(table.columns) == ["deactivated", "draw", "matches", "dose", "language", "story", "right", "margin"]
    assert list(table["story"]) == 2 * ["kitchen", "garden", "bridge", "garden", "bridge", "river", "horse"]
    mean = table.groupby(["deactivated", "language"], sort=False)["right"].mean()
    assert mean.tolist() == cloze_table(cells, 0.95)["accuracy"].tolist()
    again = measure_cloze(reader, off, stories, 4096, KeptCells(left))
    pd.testing.assert_frame_equal(story_table(again, stories), table, check_exact=True)


def test_the_order_of_the_endings_does_not_matter_and_the_right_one_does(reader: Reader) -> None:
    points = [outcome.right for outcome in cloze(reader, STORIES).outcomes]
    turned = [replace(story, endings=story.endings[::-1], right=1 - story.right) for story in STORIES]
    assert [outcome.right for outcome in cloze(reader, turned).outcomes] == points
    denied = [replace(story, right=1 - story.right) for story in STORIES]
    assert [outcome.right for outcome in cloze(reader, denied).outcomes] == [not point for point in points]


def test_a_deactivation_takes_effect_and_ends(reader: Reader) -> None:
    half = half_off(reader)
    rows = treated(reader, STORIES)
    before = ending_likelihoods(reader, rows)
    told = [replace(story, right=likelier(reader, story)) for story in STORIES]
    with reader.intervened(half):
        without = expected(reader)
        winners = [likelier(reader, story) for story in STORIES]
        np.testing.assert_allclose(ending_likelihoods(reader, rows), without, rtol=1e-5)
    assert winners != [story.right for story in told]
    assert cloze(reader, told, 4096, half).accuracy == np.mean(
        [story.right == winner for story, winner in zip(told, winners, strict=True)]
    )
    assert cloze(reader, told, 4096).accuracy == 1
    assert ending_likelihoods(reader, rows) == before


def test_an_empty_region_changes_no_bit(reader: Reader) -> None:
    empty = [nothing(reader.widths), replace(nothing(reader.widths), name="fr"), replace(nothing(reader.widths), dose=0.5)]
    before = ending_likelihoods(reader, treated(reader, STORIES))
    assert ending_likelihoods(reader, [Treated(story, empty[at % 3]) for at, story in enumerate(STORIES)]) == before


def test_nobody_s_random_numbers_are_touched(reader: Reader) -> None:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cloze(reader, STORIES)
    assert random.getstate() == states[0]
    np.testing.assert_equal(np.random.get_state(), states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


def test_the_harness_is_quiet(
    reader: Reader, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    tokenizer = deepcopy(reader.tokenizer)
    tokenizer.model_max_length = 10
    cloze(replace(reader, tokenizer=tokenizer), STORIES, 4096)
    assert capsys.readouterr() == ("", "")
    assert not caplog.messages
    assert not recwarn.list


def tokens_read(reader: Reader, stories: list[Story]) -> list[list[int]]:
    """What the model is given, sequence by sequence."""
    read: list[list[int]] = []
    handle = reader.model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"][0].tolist()), with_kwargs=True
    )
    samples_of(reader, treated(reader, stories), 1, shared=False)
    handle.remove()
    return read


@pytest.mark.parametrize("special_tokens", list(SpecialTokens))
def test_the_tokens_are_those_of_the_reader(reader: Reader, special_tokens: SpecialTokens) -> None:
    tokenizer = deepcopy(reader.tokenizer)
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    reader = replace(reader, tokenizer=tokenizer, prefix=text_prefix(tokenizer, special_tokens))
    ids = reader.sequences([f"{prompt(story)} {ending}" for story in STORIES for ending in story.endings])
    assert (ids[0][0] == tokenizer.eos_token_id) == (special_tokens is SpecialTokens.model)
    assert sorted(tokens_read(reader, STORIES)) == sorted(sequence[:-1] for sequence in ids)  # the last is only predicted
    np.testing.assert_allclose(ending_likelihoods(reader, treated(reader, STORIES)), expected(reader), rtol=1e-5)


def test_a_tokenizer_without_padding_is_used_and_left_as_it_is(reader: Reader) -> None:
    tokenizer = deepcopy(reader.tokenizer)
    tokenizer.pad_token = None
    bare = replace(reader, tokenizer=tokenizer)
    rows = treated(reader, STORIES)
    assert ending_likelihoods(bare, rows) == ending_likelihoods(reader, rows)
    assert tokenizer.pad_token is None
    assert (tokenizer.padding_side, tokenizer.model_max_length) == ("right", reader.tokenizer.model_max_length)


def test_what_the_model_does_not_read_at_once_is_cut_from_the_left_and_warned_of(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    narrow = replace(reader, context=40)
    ids = reader.token_ids([f"{prompt(story)} {ending}" for story in STORIES for ending in story.endings])
    assert sorted(tokens_read(narrow, STORIES)) == sorted(sequence[-41:][:-1] for sequence in ids)
    full = [nothing(reader.widths)]
    longer = sum(len(sequence) > 40 for sequence in ids)
    assert 0 < longer < len(ids)
    measure_cloze(narrow, full, {"es": STORIES}, 4096, KeptCells())
    assert caplog.messages == [
        f"{longer} of {len(ids)} stories, each with one ending, are longer than the 40 tokens the model reads: "
        "their first words are cut"
    ]
    caplog.clear()
    measure_cloze(replace(reader, context=max(map(len, ids))), full, {"es": STORIES}, 4096, KeptCells())
    measure_cloze(replace(reader, context=None), full, {"es": STORIES}, 4096, KeptCells())
    assert not caplog.messages


def test_a_model_whose_weights_are_elsewhere(load: Callable[..., Reader], model_folder: Path, tmp_path: Path) -> None:
    """Embeddings on the disk, the rest on the processor: the weights come to the processor when they are computed with."""
    whole = load(model_folder)
    places = {
        name: "disk" if "embeddings" in name or "embed_tokens" in name or name == "lm_head" else "cpu"
        for name, _ in parts(whole.model)
    }
    config = ModelConfig(name="x", path=str(model_folder), dtype=Dtype.float32, device_map=places, offload_folder=str(tmp_path))
    offloaded = load_reader(model_folder, config)
    assert offloaded.model.get_input_embeddings().weight.device.type == "meta"
    rows = treated(whole, STORIES)
    assert ending_likelihoods(offloaded, rows) == ending_likelihoods(whole, rows)


def parts(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The children of the base model, and the head."""
    prefix = model.base_model_prefix
    return [(f"{prefix}.{name}", child) for name, child in model.base_model.named_children()] + [("lm_head", model.lm_head)]


def memory_for(rows: int, tried: list[int]) -> Callable[..., torch.Tensor]:
    def model_that_fills_memory(*arguments: Any) -> torch.Tensor:
        tried.append(len(arguments[1]))
        if tried[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return scores_after(*arguments)

    return model_that_fills_memory


def test_the_batch_is_halved_when_memory_ends(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each row with its own intervention."""
    tried: list[int] = []
    off = [nothing(reader.widths), half_off(reader)]
    rows = [Treated(story, off[number % 2]) for number, story in enumerate(STORIES)]
    before = ending_likelihoods(reader, rows)
    monkeypatch.setattr(beginnings, "scores_after", memory_for(3, tried))
    np.testing.assert_allclose(ending_likelihoods(reader, rows), before, rtol=1e-5)
    assert tried == [5, 3, 2]
    assert "Out of memory with 5 sequences in a batch: going on with half as many." in caplog.messages


def test_a_story_that_does_not_fit_into_memory(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "scores_after", memory_for(0, []))
    with pytest.raises(InputError, match="(?s)runtime.batch_tokens.*not even one sequence.*bfloat16"):
        cloze(reader, STORIES)


def test_other_errors_are_not_taken_for_a_lack_of_memory(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(story_cloze, "harness_samples", fail)
    with pytest.raises(ZeroDivisionError):
        cloze(reader, STORIES)


def test_a_share_without_stories_is_no_error(reader: Reader) -> None:
    assert list(judge(reader, [], Reading(4096, chunked=True))) == []


def test_the_table_holds_every_language_under_every_deactivation(reader: Reader) -> None:
    off = [nothing_off(reader), half_off(reader), half_off(reader, RANDOM), nothing_off(reader, RANDOM, 1)]
    stories = {"es": STORIES[:3], "zh": STORIES[1:]}
    kept: list[int] = []
    table = cloze_table(measure_cloze(reader, off, stories, 4096, KeptCells(keep=lambda cells: kept.append(len(cells)))), 0.95)
    assert kept == [1] * 8
    assert list(table.columns)[:8] == ["deactivated", "draw", "matches", "dose", "language", "accuracy", "stderr", "items"]
    assert list(table[["deactivated", "draw", "language"]].itertuples(index=False, name=None)) == [
        ("none", 0, "es"), ("none", 0, "zh"), ("zh", 0, "es"), ("zh", 0, "zh"),
        ("random", 0, "es"), ("random", 0, "zh"), ("random", 1, "es"), ("random", 1, "zh"),
    ]  # fmt: skip
    for row in table.itertuples():
        region = next(each for each in off if (each.name, each.draw) == (row.deactivated, row.draw))
        result = cloze(reader, stories[row.language], 4096, region)
        assert (row.accuracy, row.stderr, row.items) == (result.accuracy, result.stderr, result.items)


def made_up_cells(random: np.random.Generator, items: int = 12) -> pd.DataFrame:
    """Two languages with and without a region, as `measure_cloze` leaves them; stories are as hard in both languages."""
    hard_I = random.normal(size=items)
    rows = []
    for deactivated in (NONE, "fr"):
        for language in ("en", "fr"):
            margin_I = hard_I + random.normal(0, 0.5, items) - 0.4 * (deactivated == language)
            row = {"deactivated": deactivated, "draw": 0, "matches": "", "dose": 1.0, "language": language}
            right_I = margin_I > 0
            rows.append(row | {"accuracy": right_I.mean(), "stderr": 0.1, "items": items})
            rows[-1] |= {"right_by_story": right_I.tolist(), "margin_by_story": margin_I.tolist()}
    return pd.DataFrame(rows)


def test_the_table_has_an_interval_and_the_change_on_the_same_stories() -> None:
    cells = made_up_cells(np.random.default_rng(0))
    table = cloze_table(cells, 0.95).set_index(["deactivated", "language"])
    before, after = (np.array(cells["margin_by_story"][row]) for row in (1, 3))
    change = stats.ttest_rel(after, before).confidence_interval(0.95)
    own = table.loc[("fr", "fr")]
    assert own["margin_difference"] == pytest.approx((after - before).mean())
    assert (own["margin_difference_lo"], own["margin_difference_hi"]) == pytest.approx((change.low, change.high))
    outcomes = stats.ttest_rel((after > 0).astype(int), (before > 0).astype(int)).confidence_interval(0.95)
    assert (own["difference_lo"], own["difference_hi"]) == pytest.approx((outcomes.low, outcomes.high))
    wilson = stats.binomtest(int((after > 0).sum()), 12).proportion_ci(0.95, "wilson")
    assert (own["lo"], own["hi"]) == pytest.approx((wilson.low, wilson.high))
    assert table.loc[NONE, ["difference", "margin_difference", "difference_p"]].isna().all(axis=None)
    assert table.loc[(NONE, "fr"), "chance_p"] == pytest.approx(
        stats.binomtest(int((before > 0).sum()), 12, alternative="greater").pvalue
    )
    without = cloze_table(cells, None)
    assert without[["lo", "hi", "chance_p", "difference_lo", "margin_difference_hi"]].isna().all(axis=None)


def test_the_mean_over_languages_takes_a_story_as_one_observation() -> None:
    cells = made_up_cells(np.random.default_rng(1))
    told = {language: [replace(STORIES[0], name=f"story {n}") for n in range(12)] for language in ("en", "fr")}
    found = mean_accuracy(story_table(cells, told))
    outcome_GI = np.array([cells["right_by_story"][row] for row in (0, 1)], float)
    assert found.value == pytest.approx(outcome_GI.mean())
    assert found.error == pytest.approx(outcome_GI.mean(axis=0).std(ddof=1) / math.sqrt(12))
    own = told | {"fr": [replace(story, name=f"only in French {n}") for n, story in enumerate(told["fr"])]}
    apart = mean_accuracy(story_table(cells, own))
    assert apart.value == pytest.approx(found.value)
    assert apart.error == pytest.approx(math.hypot(*(outcome_GI.std(axis=1, ddof=1) / math.sqrt(12) / 2)))
    assert apart.error < found.error  # stories are as hard in both languages: taken as independent they seem to say more


def test_cells_that_are_there_are_not_evaluated_again(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    off = [nothing_off(reader, name, draw) for name, draw in ((NONE, 0), (RANDOM, 0), (RANDOM, 1))]
    stories = {"es": STORIES[:3], "zh": STORIES[1:]}
    left: list[dict] = []

    def stop_after_four(cell: list[dict]) -> None:
        left.extend(cell)
        if len(left) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_cloze(reader, off, stories, 4096, KeptCells(keep=stop_after_four))
    whole = measure_cloze(reader, off, stories, 4096, KeptCells())
    evaluated: list[Treated] = []
    monkeypatch.setattr(story_cloze, "judge", lambda _, rows, *more: evaluated.extend(rows) or judge(_, rows, *more))
    resumed = measure_cloze(reader, off, stories, 4096, KeptCells(left))
    assert {id(under) for _, under in evaluated} == {id(off[2])}
    assert [story for story, _ in evaluated] == [*stories["es"], *stories["zh"]]
    margins, resumed_margins = (np.concatenate(found.pop("margin_by_story").to_list()) for found in (whole, resumed))
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    np.testing.assert_allclose(resumed_margins, margins, rtol=1e-4)  # what is read beside a story changes its last digits


def test_the_harness_is_imported_when_it_is_needed() -> None:
    modules = [ast.parse(Path(module.__file__).read_text(encoding="utf-8")) for module in (story_cloze, cloze_task, harness)]
    at_once = [node for module in modules for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not [node for node in at_once if "lm_eval" in ast.dump(node)]
