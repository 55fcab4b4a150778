"""For tests: two readers of one model find the same in all that is ever read with a model."""

import pandas as pd
import torch

from lf_experiments.corpora.story import Story
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.generation import continue_prompts
from lf_experiments.evaluations.perplexity import measure_perplexity
from lf_experiments.evaluations.story_cloze import measure_cloze
from lf_experiments.evaluations.windows import Window
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.interventions import Intervention, nothing
from lf_experiments.neurons.words import written_words

POOLS = ("mean", "rate", "magnitude", "gate_rate", "impact", "attribution")
RATES = ("rate", "gate_rate")
LONGER_WAY = {"attribution": 5}
"""How many times as much rounding may change of a pool: gradients go all the way back."""
STORIES = [Story("one", ["a", "b"], ("The end.", "No."), 0), Story("two", ["e", "f"], ("x", "y"), 1)]


def half_off(reader: Reader) -> Intervention:
    """Every third neuron off, so that each of two processes has others of its own."""
    return Intervention("en", [torch.arange(width) % 3 == 0 for width in reader.widths])


def to_a_value(reader: Reader) -> Intervention:
    """Every third neuron moved to a value that no two share."""
    where = half_off(reader).where_L_N
    return Intervention("fr", where, kind="mean", value_L_N=[torch.linspace(-1, 1, len(where_N)) for where_N in where])


def assert_same_numbers(
    found: Reader, expected: Reader, sentences: list[str], rounding: float = 1e-6, across_0: float = 0
) -> None:
    """Activations under every pool, perplexity, story cloze, words and continuations, as the model is and under interventions.

    Rounding may change activations by this share of the largest, and losses by this share or ten times as many nats; and of
    this share of the neurons it may bring a token to the other side of 0, and change how often they are active.
    """
    assert (found.num_parameters, found.widths, found.num_neurons) == (
        expected.num_parameters,
        expected.widths,
        expected.num_neurons,
    )
    assert_same_activations(found, expected, sentences, rounding, across_0)
    interventions = [nothing(expected.widths), half_off(expected), to_a_value(expected)]
    windows = {"en": [Window(list(range(start, start + 12)), 30) for start in range(5)]}
    both = (found, expected)
    assert_close(*(measure_perplexity(reader, interventions, windows, 24, KeptCells()) for reader in both), rounding)
    assert_close(*(measure_cloze(reader, interventions, {"en": STORIES}, 400, KeptCells()) for reader in both), rounding)
    prompts = {"en": ["The child", "x"], "zh": ["孩子在花园里"]}
    asked = [0, 0, 1], [0, 23, 17]
    assert found.ask(written_words, *asked) == expected.ask(written_words, *asked)
    written = [continue_prompts(reader, interventions, prompts, 8, KeptCells()) for reader in both]
    pd.testing.assert_frame_equal(*written)
    assert written[0]["text"].nunique() > 3


def assert_same_activations(found: Reader, expected: Reader, sentences: list[str], rounding: float, across_0: float) -> None:
    """Every pool of every neuron, up to a share of the largest."""
    here, there = (capture(reader, sentences, 300, POOLS) for reader in (found, expected))
    for pool in POOLS:
        largest = max(h_SN.abs().max() for h_SN in there[pool])
        for found_SN, expected_SN in zip(here[pool], there[pool], strict=True):
            apart_SN = (found_SN - expected_SN).abs() / largest
            is_near_SN = apart_SN <= rounding * LONGER_WAY.get(pool, 1)
            assert (~is_near_SN).float().mean() <= (across_0 if pool in RATES else 0), (pool, apart_SN.max())


def assert_close(found: pd.DataFrame, expected: pd.DataFrame, rounding: float) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=rounding, atol=10 * rounding)
