"""Every method that reads sentence means equals its definition, neuron by neuron, on the activations of random models."""

from __future__ import annotations

import math
import statistics
from itertools import combinations

import pytest
import torch
from recorded import labelled
from torch import Tensor

import lf_experiments as lf
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import probe
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations

SOME = 7
"""Neurons of each layer that are evaluated by hand."""


@pytest.fixture(scope="module")
def activations(reader: Reader, parallel: dict[str, list[str]]) -> Activations:
    """Of the tiny BLOOM and the tiny LLaMA: six languages, three meanings."""
    return lf.capture(reader, parallel)


def found(activations: Activations, name: str) -> tuple[Tensor, Tensor]:
    """The scores and z of some neurons of every layer, (L, G, some)."""
    regions = probe(activations, ProbeConfig(name, 0.0))
    return tuple(torch.stack(list(values))[:, :, :SOME] for values in (regions.score_L_GN, regions.z_L_GN))


def values_of(activations: Activations) -> list[list[list[list[float]]]]:
    """The vectors of eq. (6): layer, neuron, language, meaning, as numbers."""
    norm_S = torch.stack([h_SN.double().square().sum(1) for h_SN in activations.h_L_SN]).sum(0).sqrt()
    languages = activations.language_codes
    of_language = [[row for row, code in enumerate(activations.languages) if code == language] for language in languages]
    return [
        [[[float(h_SN[row, neuron].double() / norm_S[row]) for row in rows] for rows in of_language] for neuron in range(SOME)]
        for h_SN in activations.h_L_SN
    ]


def check(activations: Activations, name: str, by_hand) -> None:
    """Compare with (score, z) of `by_hand(values by language, language)` for some neurons of every layer."""
    score_LGN, z_LGN = found(activations, name)
    for layer, neurons in enumerate(values_of(activations)):
        for neuron, values in enumerate(neurons):
            for language in range(len(values)):
                score, z = by_hand(values, language)
                assert float(score_LGN[layer, language, neuron]) == pytest.approx(score, abs=1e-9)
                assert float(z_LGN[layer, language, neuron]) == pytest.approx(z, abs=1e-7)
    assert len({round(float(z), 6) for z in z_LGN.flatten()}) > SOME, "a test of neurons that are all alike shows nothing"


def others(values: list[list[float]], language: int) -> list[list[float]]:
    return [of_language for number, of_language in enumerate(values) if number != language]


def paired_by_hand(values: list[list[float]], language: int) -> tuple[float, float]:
    differences = [
        value - statistics.mean(of_other[meaning] for of_other in others(values, language))
        for meaning, value in enumerate(values[language])
    ]
    return statistics.mean(differences), statistics.mean(differences) / statistics.stdev(differences)


def auroc_by_hand(values: list[list[float]], language: int) -> tuple[float, float]:
    rest = sum(others(values, language), [])
    wins = sum((mine > other) + (mine == other) / 2 for mine in values[language] for other in rest)
    return (wins / (len(values[language]) * len(rest)),) * 2


def precision_by_hand(values: list[list[float]], language: int) -> tuple[float, float]:
    """Walk down the sentences, the strongest first, and average the precision where one of the language is met."""
    ranked = sorted(((value, number) for number, each in enumerate(values) for value in each), reverse=True)
    hits, precisions = 0, []
    for place, (_, number) in enumerate(ranked, start=1):
        if number == language:
            hits += 1
            precisions.append(hits / place)
    return (statistics.mean(precisions),) * 2


def overlap_by_hand(values: list[list[float]], language: int) -> tuple[float, float]:
    """The best of all partings in two groups, tried one by one."""
    means, variances = [statistics.mean(each) for each in values], [statistics.variance(each) for each in values]
    everyone = set(range(len(values)))

    def distance(one: int, other: int) -> float:
        return abs(means[one] - means[other]) / math.sqrt((variances[one] + variances[other]) / 2)

    partings = [set(group) for size in range(1, len(values)) for group in combinations(everyone, size)]
    apart = {tuple(group): min(distance(a, b) for a in group for b in everyone - group) for group in partings}
    best = max(apart, key=apart.get)
    high = max(set(best), everyone - set(best), key=lambda group: statistics.mean(means[each] for each in group))
    score = 1 - math.erfc(apart[best] / 2 / math.sqrt(2))
    return score, apart[best] if language in high and 2 * len(high) <= len(everyone) else -math.inf


BY_HAND = {
    "paired_d": paired_by_hand,
    "auroc": auroc_by_hand,
    "average_precision": precision_by_hand,
    "overlap": overlap_by_hand,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_method_is_its_definition_on_random_models(activations: Activations, name: str) -> None:
    check(activations, name, BY_HAND[name])


@pytest.mark.parametrize("name", BY_HAND)
def test_the_order_of_sentences_does_not_matter(activations: Activations, name: str) -> None:
    order = torch.randperm(len(activations.languages), generator=torch.Generator().manual_seed(3)).tolist()
    order.sort(key=lambda row: activations.language_codes.index(activations.languages[row]))  # mixed within languages
    moved = Activations(
        [h_SN[order] for h_SN in activations.h_L_SN],
        [activations.languages[row] for row in order],
        [activations.meanings[row] for row in order],
        activations.tokens_S[order],
        1,
    )
    for here, there in zip(found(activations, name), found(moved, name), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_ties_count_as_they_should(name: str) -> None:
    """Languages of two sentences, worth (0.6, 0.6), (0.6, 0) and (0, 0); a second neuron keeps their norms at 1."""
    value_S = torch.tensor([0.6, 0.6, 0.6, 0.0, 0.0, 0.0])
    h_SN = torch.stack([value_S, (1 - value_S**2).sqrt()], dim=1)
    regions = probe(labelled([h_SN], torch.tensor([0, 0, 1, 1, 2, 2])), ProbeConfig(name, 0.0))
    expected = {"auroc": [7 / 8, 4 / 8, 1 / 8], "average_precision": [2 / 3, 1 / 3, 1 / 3]}
    torch.testing.assert_close(regions.z_L_GN[0][:, 0], torch.tensor(expected[name], dtype=torch.float64))


@pytest.mark.parametrize("name", ["paired_d", "overlap"])
def test_a_neuron_that_never_varies_is_never_key(name: str) -> None:
    language_S, meaning_S = torch.arange(4).repeat_interleave(5), torch.arange(5).repeat(4)
    h_SN = torch.zeros(20, 3)
    h_SN[:, 0] = 1
    louder_S = 1 + torch.rand(20, generator=torch.Generator().manual_seed(0))
    regions = probe(labelled([h_SN * louder_S[:, None]], language_S, meaning_S), ProbeConfig(name, 0.0))
    assert regions.sklr == 0 and regions.score_L_GN[0].abs().max() < 1e-9


def test_the_meaning_cancels_in_pairs_and_not_without_them() -> None:
    """Meanings move the neuron by far more than the language does."""
    language_S, meaning_S = torch.arange(4).repeat_interleave(30), torch.arange(30).repeat(4)
    generator = torch.Generator().manual_seed(0)
    h_SN = torch.stack([10 * torch.randn(30, generator=generator)[meaning_S], torch.full((120,), 500.0)], dim=1)
    h_SN += 0.1 * torch.randn(120, 2, generator=generator)
    h_SN[language_S == 2, 0] += 1
    activations = labelled([h_SN], language_S, meaning_S)
    assert probe(activations, ProbeConfig("paired_d", 2.0)).is_key_L_GN[0][:, 0].tolist() == [False, False, True, False]
    assert probe(activations, ProbeConfig("cohen_d", 0.8)).sklr == 0


def test_pairs_need_parallel_sentences() -> None:
    activations = labelled([torch.ones(4, 2)], torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="every language needs one sentence of every meaning: the sentences are not parallel"):
        probe(activations, ProbeConfig("paired_d"))


@pytest.mark.parametrize(
    ("high", "expected"), [([1], [1]), ([0, 4], [0, 4]), ([0, 1, 2], [0, 1, 2]), ([0, 1, 2, 3], []), ([1, 2, 3, 4, 5], [])]
)
def test_overlap_finds_the_languages_that_share_a_neuron_if_they_are_at_most_half(high: list[int], expected: list[int]) -> None:
    language_S = torch.arange(6).repeat_interleave(20)
    h_SN = torch.ones(120, 2) + 0.1 * torch.randn(120, 2, generator=torch.Generator().manual_seed(1))
    for language in high:
        h_SN[language_S == language, 0] += 0.8
    regions = probe(labelled([h_SN], language_S), ProbeConfig("overlap", 2.0))
    assert regions.is_key_L_GN[0][:, 0].nonzero()[:, 0].tolist() == expected
