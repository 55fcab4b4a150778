"""Cohen's d equals its definition, neuron by neuron, finds what was planted, and is a probe like any other."""

import math
import statistics

import pytest
import torch
from recorded import labelled
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import most_languages, pool_of, probe
from lf_experiments.measures.regions import Regions

WIDTHS, LANGUAGES, SENTENCES = [12, 5], 4, 6
LANGUAGE_S = torch.arange(LANGUAGES).repeat_interleave(SENTENCES)
CONFIG = ProbeConfig("cohen_d", 0.8)


@pytest.fixture
def h_L_SN() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [1 + torch.randn(len(LANGUAGE_S), width, generator=generator) for width in WIDTHS]


def probed(h_L_SN: list[Tensor], threshold: float = 0.8) -> Regions:
    return probe(labelled(h_L_SN, LANGUAGE_S), ProbeConfig("cohen_d", threshold))


def d_by_hand(values_S: list[float], language: int) -> tuple[float, float]:
    """The difference of means and d of one neuron and one language."""
    of_language = [values_S[g * SENTENCES : (g + 1) * SENTENCES] for g in range(LANGUAGES)]
    means = [sum(values) / SENTENCES for values in of_language]
    others = [mean for g, mean in enumerate(means) if g != language]
    difference = means[language] - sum(others) / len(others)
    pooled = sum(map(statistics.variance, of_language)) / LANGUAGES
    return difference, difference / math.sqrt(pooled)


def test_every_score_and_d_is_its_definition(h_L_SN: list[Tensor], by_hand) -> None:
    regions = probed(h_L_SN)
    a_SK = by_hand.unit_vectors(torch.cat(h_L_SN, dim=1)[None])
    score_GK, z_GK = torch.cat(regions.score_L_GN, dim=1), torch.cat(regions.z_L_GN, dim=1)
    for neuron in range(sum(WIDTHS)):
        for language in range(LANGUAGES):
            difference, d = d_by_hand(a_SK[:, neuron].tolist(), language)
            assert float(score_GK[language, neuron]) == pytest.approx(difference, abs=1e-12)
            assert float(z_GK[language, neuron]) == pytest.approx(d, abs=1e-9)
    assert torch.equal(torch.cat(regions.is_key_L_GN, dim=1), z_GK > 0.8) and regions.sklr > 0


def test_a_planted_neuron_is_key_for_its_language_however_small_its_activations_are(h_L_SN: list[Tensor]) -> None:
    h_L_SN[0] *= 100
    h_L_SN[1][LANGUAGE_S == 2, 3] += 3
    assert probed(h_L_SN, 1.5).is_key_L_GN[1][:, 3].tolist() == [False, False, True, False]


def test_a_neuron_can_be_key_for_two_languages(h_L_SN: list[Tensor]) -> None:
    h_L_SN[0][(LANGUAGE_S == 0) | (LANGUAGE_S == 3), 7] += 6
    assert probed(h_L_SN, 1.5).is_key_L_GN[0][:, 7].tolist() == [True, False, False, True]
    assert most_languages(CONFIG, LANGUAGES) == LANGUAGES


def test_a_neuron_that_is_weaker_in_a_language_is_not_key_for_it(h_L_SN: list[Tensor]) -> None:
    h_L_SN[0][LANGUAGE_S == 1, 2] -= 6
    regions = probed(h_L_SN)
    assert regions.z_L_GN[0][1, 2] < -2 and not regions.is_key_L_GN[0][1, 2]


def test_a_neuron_that_varies_within_no_language_is_never_key() -> None:
    """Whether it is silent, constant, or another constant in every language; a scaling of sentences leaves rounding alone."""
    h_SN = torch.ones(len(LANGUAGE_S), 4)
    h_SN[:, 1], h_SN[:, 2] = 0, LANGUAGE_S
    louder_S = 1 + torch.rand(len(LANGUAGE_S), generator=torch.Generator().manual_seed(0))
    regions = probed([h_SN * louder_S[:, None]], 0.0)
    assert torch.equal(regions.z_L_GN[0], torch.zeros(LANGUAGES, 4, dtype=torch.float64)) and regions.sklr == 0


def test_without_an_effect_nothing_comes_near_the_threshold() -> None:
    """With nine languages of a hundred sentences, where z > 2 finds more than a tenth of the neurons (by its arithmetic)."""
    language_S = torch.arange(9).repeat_interleave(100)
    noise = 1 + torch.randn(900, 400, generator=torch.Generator().manual_seed(0))
    regions = probe(labelled([noise], language_S), CONFIG)
    assert regions.sklr == 0 and regions.z_L_GN[0].max() < 0.5
    assert float(regions.z_L_GN[0].std()) == pytest.approx(math.sqrt(9 / (100 * 8)), rel=0.05)
    assert probe(labelled([noise], language_S), ProbeConfig("zscore", 2.0)).sklr > 40


def test_it_reads_the_mean() -> None:
    assert pool_of(CONFIG) == "mean"
