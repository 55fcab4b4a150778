"""Interventions side by side against one by one, on a model of the size of bloom-nano with random weights."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import torch

from benchmarks.ratios import Ratio, time_ratio
from lf_experiments.config.schema import Architecture, ClozeConfig, Recipe
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, meanings, sentence
from lf_experiments.corpora.stories import stories
from lf_experiments.evaluations import beginnings
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.generation import continue_prompts
from lf_experiments.evaluations.story_cloze import measure_cloze
from lf_experiments.models.families import neuron_sites
from lf_experiments.models.load import Reader
from lf_experiments.models.nano.growth import training_sentences, untrained_model
from lf_experiments.models.nano.tokenizer import trained_tokenizer
from lf_experiments.neurons.interventions import Intervention, nothing

BATCH_TOKENS = 4096
SAMPLES, NEW_TOKENS = 3, 64
FEW_STORIES = 6
SHARE = 0.05
"""Of the neurons, off under each intervention."""


def ratios(rounds: int) -> list[Ratio]:
    """What the default run continues under ten interventions, and a cloze of few stories."""
    reader = nano()
    languages = list(MINIATURE_LANGUAGES)
    off = [nothing(reader.widths), *(random_off(reader, name, seed) for seed, name in enumerate(languages))]
    prompts = {name: [sentence(meaning, name) for meaning in meanings("analysis")[:SAMPLES]] for name in languages}
    told = stories(ClozeConfig("miniature", "miniature", stories=FEW_STORIES), languages)

    def continued(interventions: list[Intervention], asked: dict[str, list[str]]) -> None:
        continue_prompts(reader, interventions, asked, NEW_TOKENS, KeptCells())

    def judged(interventions: list[Intervention], asked: dict[str, list]) -> None:
        measure_cloze(reader, interventions, asked, BATCH_TOKENS, KeptCells())

    def each(evaluate: Callable[..., None], parts: list[dict]) -> Callable[[], None]:
        return lambda: [evaluate([one], part) for one in off for part in parts]

    by_language = [{name: told[name]} for name in languages]
    return [
        time_ratio(
            "continuations under ten interventions, one by one / side by side",
            "at least 4",
            each(continued, [prompts]),
            lambda: continued(off, prompts),
            rounds,
        ),
        time_ratio(
            f"cloze of {FEW_STORIES} stories, cell by cell / side by side",
            "at least 2",
            each(judged, by_language),
            lambda: judged(off, told),
            rounds,
        ),
        time_ratio(
            f"cloze of {FEW_STORIES} stories, the beginning with each ending / once",
            "above 1",
            lambda: read_whole(lambda: judged(off, told)),
            lambda: judged(off, told),
            rounds,
        ),
    ]


def read_whole(evaluate: Callable[[], None]) -> None:
    """The evaluation as of a model that cannot read on."""
    with mock.patch.object(beginnings, "beginnings_can_be_shared", lambda *_: False):
        evaluate()


def nano() -> Reader:
    """The shape and the tokenizer of bloom-nano, and random weights so large that neurons differ."""
    recipe = Recipe(Architecture.bloom, hidden_size=64, layers=8, heads=2, vocabulary=1400, steps=[0])
    tokenizer = trained_tokenizer(training_sentences(), recipe.vocabulary, recipe.window)
    torch.manual_seed(0)
    model = untrained_model(recipe, tokenizer).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return Reader(model, tokenizer, neuron_sites(model), prefix=[], context=None)


def random_off(reader: Reader, name: str, seed: int) -> Intervention:
    """Random neurons off."""
    random = torch.Generator().manual_seed(seed)
    return Intervention(name, [torch.rand(width, generator=random) < SHARE for width in reader.widths])
