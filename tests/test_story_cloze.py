"""The story cloze: log-likelihoods by the formula, the tokens of the reader, the manners of the harness, and the table."""

import ast
import math
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from lf_experiments.config import Dtype, InputError, ModelConfig
from lf_experiments.corpora.stories import Story
from lf_experiments.evaluations import story_cloze
from lf_experiments.evaluations.deactivation import NOTHING, RANDOM, Deactivation
from lf_experiments.evaluations.story_cloze import cloze, cloze_table, harness_samples, judged, prompt, rows_at_once
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.neurons.deactivate import deactivated

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
    before = len(reader.token_ids([beginning])[0])
    ids = reader.token_ids([f"{beginning} {ending}"])[0]
    logits_TV = reader.model(input_ids=torch.tensor([ids])).logits[0].double()
    return sum((logits_TV[t - 1, ids[t]] - logits_TV[t - 1].exp().sum().log()).item() for t in range(before, len(ids)))


def likelier(reader: Reader, story: Story) -> int:
    """Which of the endings is the likelier, by the formula."""
    first, second = (log_likelihood(reader, story, ending) for ending in story.endings)
    return 0 if first > second else 1


def found(samples: list[dict]) -> list[list[float]]:
    """The log-likelihoods of both endings of each story, as the harness logs them."""
    by_story = sorted(samples, key=lambda sample: sample["doc_id"])
    return [[likelihood for likelihood, _ in sample["filtered_resps"]] for sample in by_story]


def no_neuron(reader: Reader) -> torch.Tensor:
    return torch.zeros(len(reader.sites), reader.num_neurons_per_layer, dtype=torch.bool)


def every_other_neuron(reader: Reader) -> torch.Tensor:
    half = no_neuron(reader)
    half[:, ::2] = True
    return half


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


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_log_likelihoods_are_those_of_the_formula_whatever_the_batch(reader: Reader, rows: int) -> None:
    np.testing.assert_allclose(found(harness_samples(reader, STORIES, rows)), expected(reader), rtol=1e-5)


def test_log_likelihoods_are_in_float32_where_the_weights_are_not(load: Callable[..., Reader], model_folder: Path) -> None:
    reader = load(model_folder, Dtype.bfloat16)
    np.testing.assert_allclose(found(harness_samples(reader, STORIES, 1)), expected(reader), rtol=5e-4)


def test_the_task_has_the_paper_s_words(reader: Reader) -> None:
    sample = harness_samples(reader, STORIES, 4)[0]
    assert sample["arguments"] == [(prompt(STORIES[0]), " He goes out."), (prompt(STORIES[0]), " The sea sings.")]


def test_accuracy_and_standard_error(reader: Reader) -> None:
    winners = [likelier(reader, story) for story in STORIES]
    told = [replace(story, right=winner) for story, winner in zip(STORIES, winners, strict=True)]
    told[1], told[3] = (replace(story, right=1 - story.right) for story in (told[1], told[3]))
    assert [point for _, point in sorted(judged(reader, told, 4096, no_neuron(reader)))] == [1.0, 0.0, 1.0, 0.0, 1.0]
    result = cloze(reader, told, 4096, no_neuron(reader))
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.stderr == pytest.approx(math.sqrt(3 / 5 * 2 / 5 / (5 - 1)))
    assert result.items == 5
    everyone = [replace(story, right=winner) for story, winner in zip(STORIES, winners, strict=True)]
    assert cloze(reader, everyone, 4096, no_neuron(reader)).accuracy == 1
    alone = cloze(reader, everyone[:1], 4096, no_neuron(reader))
    assert (alone.accuracy, alone.stderr, alone.items) == (1, None, 1)


def test_the_order_of_the_endings_does_not_matter_and_the_right_one_does(reader: Reader) -> None:
    nothing = no_neuron(reader)
    points = dict(judged(reader, STORIES, 4096, nothing))
    turned = [replace(story, endings=story.endings[::-1], right=1 - story.right) for story in STORIES]
    assert dict(judged(reader, turned, 4096, nothing)) == points
    denied = [replace(story, right=1 - story.right) for story in STORIES]
    assert dict(judged(reader, denied, 4096, nothing)) == {position: 1 - point for position, point in points.items()}


def test_a_deactivation_takes_effect_and_ends(reader: Reader) -> None:
    half = every_other_neuron(reader)
    before = found(harness_samples(reader, STORIES, 4))
    told = [replace(story, right=likelier(reader, story)) for story in STORIES]
    with deactivated(reader.sites, half):
        without = expected(reader)
        winners = [likelier(reader, story) for story in STORIES]
        np.testing.assert_allclose(found(harness_samples(reader, STORIES, 4)), without, rtol=1e-5)
    assert winners != [story.right for story in told]
    assert cloze(reader, told, 4096, half).accuracy == np.mean(
        [story.right == winner for story, winner in zip(told, winners, strict=True)]
    )
    assert cloze(reader, told, 4096, no_neuron(reader)).accuracy == 1
    assert found(harness_samples(reader, STORIES, 4)) == before


def test_an_empty_region_changes_no_bit(reader: Reader) -> None:
    before = found(harness_samples(reader, STORIES, 4))
    with deactivated(reader.sites, no_neuron(reader)):
        assert found(harness_samples(reader, STORIES, 4)) == before


def test_nobody_s_random_numbers_are_touched(reader: Reader) -> None:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cloze(reader, STORIES, 4096, no_neuron(reader))
    assert random.getstate() == states[0]
    np.testing.assert_equal(np.random.get_state(), states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


def test_the_harness_is_quiet(
    reader: Reader, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    tokenizer = deepcopy(reader.tokenizer)
    tokenizer.model_max_length = 10
    cloze(replace(reader, tokenizer=tokenizer), STORIES, 4096, no_neuron(reader))
    assert capsys.readouterr() == ("", "")
    assert not caplog.messages
    assert not recwarn.list


def tokens_read(reader: Reader, stories: list[Story]) -> list[list[int]]:
    """What the model is given, sequence by sequence."""
    read: list[list[int]] = []
    handle = reader.model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0][0].tolist()))
    harness_samples(reader, stories, 1)
    handle.remove()
    return read


@pytest.mark.parametrize("add_special_tokens", [False, True])
def test_the_tokens_are_those_of_the_reader(reader: Reader, add_special_tokens: bool) -> None:
    tokenizer = deepcopy(reader.tokenizer)
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    reader = replace(reader, tokenizer=tokenizer, add_special_tokens=add_special_tokens)
    ids = reader.token_ids([f"{prompt(story)} {ending}" for story in STORIES for ending in story.endings])
    assert (ids[0][0] == tokenizer.eos_token_id) == add_special_tokens
    assert sorted(tokens_read(reader, STORIES)) == sorted(sequence[:-1] for sequence in ids)  # the last is only predicted
    np.testing.assert_allclose(found(harness_samples(reader, STORIES, 64)), expected(reader), rtol=1e-5)


def test_a_tokenizer_without_padding_is_used_and_left_as_it_is(reader: Reader) -> None:
    tokenizer = deepcopy(reader.tokenizer)
    tokenizer.pad_token = None
    bare = replace(reader, tokenizer=tokenizer)
    assert found(harness_samples(bare, STORIES, 4)) == found(harness_samples(reader, STORIES, 4))
    assert tokenizer.pad_token is None
    assert (tokenizer.padding_side, tokenizer.model_max_length) == ("right", reader.tokenizer.model_max_length)


def test_what_the_model_does_not_read_at_once_is_cut_from_the_left_and_warned_of(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    narrow = replace(reader, context=40)
    ids = reader.token_ids([f"{prompt(story)} {ending}" for story in STORIES for ending in story.endings])
    assert sorted(tokens_read(narrow, STORIES)) == sorted(sequence[-41:][:-1] for sequence in ids)
    nothing = [Deactivation(NOTHING, 0, no_neuron(reader))]
    longer = sum(len(sequence) > 40 for sequence in ids)
    assert 0 < longer < len(ids)
    cloze_table(narrow, nothing, {"es": STORIES}, 4096, [], lambda _: None)
    assert caplog.messages == [
        f"{longer} of {len(ids)} stories, each with one ending, are longer than the 40 tokens the model reads: "
        "their first words are cut"
    ]
    caplog.clear()
    cloze_table(replace(reader, context=max(map(len, ids))), nothing, {"es": STORIES}, 4096, [], lambda _: None)
    cloze_table(replace(reader, context=None), nothing, {"es": STORIES}, 4096, [], lambda _: None)
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
    assert found(harness_samples(offloaded, STORIES, 4)) == found(harness_samples(whole, STORIES, 4))


def parts(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The children of the base model, and the head."""
    prefix = model.base_model_prefix
    return [(f"{prefix}.{name}", child) for name, child in model.base_model.named_children()] + [("lm_head", model.lm_head)]


def test_sequences_at_once_keep_to_the_budget_and_to_the_logits_held(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(len(reader.token_ids([f"{prompt(story)} {ending}"])[0]) for story in STORIES for ending in story.endings)
    assert rows_at_once(reader, STORIES, 3 * longest) == 3
    assert rows_at_once(reader, STORIES, 3 * longest - 1) == 2
    assert rows_at_once(reader, STORIES, 1) == 1
    monkeypatch.setattr(story_cloze, "HELD_LOGITS", 2 * longest * reader.model.config.vocab_size)
    assert rows_at_once(reader, STORIES, 3 * longest) == 2


def memory_for(rows: int, tried: list[int]) -> Callable[..., list[dict]]:
    def harness_that_fills_memory(reader: Reader, stories: list[Story], wanted: int) -> list[dict]:
        tried.append(wanted)
        if wanted > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return harness_samples(reader, stories, wanted)

    return harness_that_fills_memory


def test_the_batch_is_halved_when_memory_ends(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []
    points = dict(judged(reader, STORIES, 4096, no_neuron(reader)))
    monkeypatch.setattr(story_cloze, "rows_at_once", lambda *_: 9)
    monkeypatch.setattr(story_cloze, "harness_samples", memory_for(2, tried))
    assert dict(judged(reader, STORIES, 4096, no_neuron(reader))) == points
    assert tried == [9, 4, 2]
    assert "Out of memory with 9 sequences in a batch: going on with half as many." in caplog.messages


def test_a_story_that_does_not_fit_into_memory(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story_cloze, "harness_samples", memory_for(0, []))
    with pytest.raises(InputError, match="(?s)runtime.batch_tokens.*not even one story.*bfloat16"):
        cloze(reader, STORIES, 4096, no_neuron(reader))


def test_other_errors_are_not_taken_for_a_lack_of_memory(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(story_cloze, "harness_samples", fail)
    with pytest.raises(ZeroDivisionError):
        cloze(reader, STORIES, 4096, no_neuron(reader))


def test_a_share_without_stories_is_no_error(reader: Reader) -> None:
    assert list(judged(reader, [], 4096, no_neuron(reader))) == []


def test_the_table_holds_every_language_under_every_deactivation(reader: Reader) -> None:
    nothing, half = no_neuron(reader), every_other_neuron(reader)
    off = [
        Deactivation(NOTHING, 0, nothing),
        Deactivation("zh", 0, half),
        Deactivation(RANDOM, 0, half),
        Deactivation(RANDOM, 1, nothing),
    ]
    stories = {"es": STORIES[:3], "zh": STORIES[1:]}
    kept: list[int] = []
    table = cloze_table(reader, off, stories, 4096, [], lambda cells: kept.append(len(cells)))
    assert kept == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(table.columns) == ["deactivated", "draw", "language", "accuracy", "stderr", "items"]
    assert list(table[["deactivated", "draw", "language"]].itertuples(index=False, name=None)) == [
        ("none", 0, "es"), ("none", 0, "zh"), ("zh", 0, "es"), ("zh", 0, "zh"),
        ("random", 0, "es"), ("random", 0, "zh"), ("random", 1, "es"), ("random", 1, "zh"),
    ]  # fmt: skip
    for row in table.itertuples():
        region = next(each.off_LN for each in off if (each.name, each.draw) == (row.deactivated, row.draw))
        result = cloze(reader, stories[row.language], 4096, region)
        assert (row.accuracy, row.stderr, row.items) == (result.accuracy, result.stderr, result.items)


def test_cells_that_are_there_are_not_evaluated_again(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    off = [Deactivation(name, draw, no_neuron(reader)) for name, draw in ((NOTHING, 0), (RANDOM, 0), (RANDOM, 1))]
    stories = {"es": STORIES[:3], "zh": STORIES[1:]}
    stopped_at: list[list[dict]] = []

    def stop_after_four(cells: list[dict]) -> None:
        stopped_at[:] = [list(cells)]
        if len(cells) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cloze_table(reader, off, stories, 4096, [], stop_after_four)
    whole = cloze_table(reader, off, stories, 4096, [], lambda _: None)
    evaluated: list[int] = []
    monkeypatch.setattr(story_cloze, "cloze", lambda *arguments: evaluated.append(1) or cloze(*arguments))
    resumed = cloze_table(reader, off, stories, 4096, stopped_at[0], lambda _: None)
    assert len(evaluated) == 2
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_the_harness_is_imported_when_it_is_needed() -> None:
    module = ast.parse(Path(story_cloze.__file__).read_text(encoding="utf-8"))
    at_once = [node for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not [node for node in at_once if "lm_eval" in ast.dump(node)]
