"""Estimates over meanings: identities, leave-one-out against recomputation, and the coverage of intervals by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lf_experiments.equations import lrds, sads
from lf_experiments.measures.uncertainty.components import COMPONENTS, components, over_languages
from lf_experiments.measures.uncertainty.estimate import Estimate, simultaneous_band

G, WIDTH = 4, 6


def unit_vectors(meanings: int, seed: int, languages: int = G, log_normal: bool = False) -> Tensor:
    """Activation vectors of a common, a language, a meaning and a noise part, scaled to length 1: (G * n, width)."""
    random = np.random.default_rng(seed)
    draw = (
        (lambda *size: np.exp(random.normal(size=size)) - math.exp(0.5))
        if log_normal
        else (lambda *size: random.normal(size=size))
    )
    fixed = np.random.default_rng(0)  # languages are the ones chosen, not a sample
    language = fixed.normal(size=(languages, 1, WIDTH))
    vectors = 1.0 + 0.6 * language + 0.5 * draw(1, meanings, WIDTH) + 0.4 * random.normal(size=(languages, meanings, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return torch.from_numpy(vectors.reshape(languages * meanings, WIDTH))


def similarity(vectors: Tensor) -> Tensor:
    return vectors @ vectors.T


def labels(meanings: int, languages: int = G) -> tuple[Tensor, Tensor]:
    return torch.arange(languages).repeat_interleave(meanings), torch.arange(meanings).repeat(languages)


def without(map_SS: Tensor, meaning: int, meanings: int) -> Tensor:
    """The map without one meaning."""
    _, meaning_S = labels(meanings)
    kept = meaning_S != meaning
    return map_SS[kept][:, kept]


# Identities -------------------------------------------------------------------------------------------------------------


def test_lrds_and_sads_are_those_of_the_equations() -> None:
    map_SS = similarity(unit_vectors(7, 1))
    found = components(map_SS, G)
    assert found["lrds"].value == pytest.approx(lrds(map_SS, *labels(7)), abs=1e-12)
    assert found["sads"].value == pytest.approx(sads(map_SS, *labels(7)), abs=1e-12)


def test_the_parts_add_up_to_one() -> None:
    found = components(similarity(unit_vectors(9, 2)), G)
    assert sum(found[name].value for name in ("common", "lrds", "sads", "rest")) == pytest.approx(1, abs=1e-12)


def test_they_are_the_components_of_a_two_way_analysis_of_variance() -> None:
    meanings = 8
    vectors = unit_vectors(meanings, 3).view(G, meanings, WIDTH)
    grand, by_language, by_meaning = vectors.mean(dim=(0, 1)), vectors.mean(dim=1), vectors.mean(dim=0)
    rest = vectors - by_language[:, None] - by_meaning[None] + grand
    ms_language = meanings * (by_language - grand).square().sum() / (G - 1)
    ms_meaning = G * (by_meaning - grand).square().sum() / (meanings - 1)
    ms_rest = rest.square().sum() / ((G - 1) * (meanings - 1))
    found = components(similarity(vectors.view(-1, WIDTH)), G)
    assert found["lrds"].value == pytest.approx(float((ms_language - ms_rest) / meanings), abs=1e-12)
    assert found["sads"].value == pytest.approx(float((ms_meaning - ms_rest) / G), abs=1e-12)
    assert found["rest"].value == pytest.approx(float(ms_rest), abs=1e-12)


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_value_without_a_meaning_is_that_of_the_map_without_it(name: str) -> None:
    meanings = 6
    map_SS = similarity(unit_vectors(meanings, 4))
    left_out = torch.tensor(
        [components(without(map_SS, m, meanings), G)[name].value for m in range(meanings)], dtype=torch.float64
    )
    expected = (meanings - 1) * (left_out.mean() - left_out)
    torch.testing.assert_close(components(map_SS, G)[name].influence_M, expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_value_without_a_language_is_that_of_the_map_without_it(name: str) -> None:
    meanings = 5
    map_SS = similarity(unit_vectors(meanings, 5))
    language_S, _ = labels(meanings)
    values = []
    for language in range(G):
        kept = language_S != language
        values.append(components(map_SS[kept][:, kept], G - 1)[name].value)
    left_out = torch.tensor(values, dtype=torch.float64)
    found = over_languages(map_SS, G)[name]
    assert found.value == pytest.approx(components(map_SS, G)[name].value, abs=1e-12)
    torch.testing.assert_close(found.influence_M, (G - 1) * (left_out.mean() - left_out), atol=1e-11, rtol=0)


def test_lrds_of_the_layers_under_the_norm_of_the_whole_adds_up_to_lrds() -> None:
    vectors = unit_vectors(7, 6)
    layers = [components(similarity(part), G)["lrds"].value for part in vectors.split(2, dim=1)]
    assert sum(layers) == pytest.approx(components(similarity(vectors), G)["lrds"].value, abs=1e-12)


def test_every_neuron_has_its_part_of_lrds() -> None:
    vectors = unit_vectors(7, 6)
    parts = [components(similarity(vectors[:, [neuron]]), G)["lrds"].value for neuron in range(WIDTH)]
    assert sum(parts) == pytest.approx(components(similarity(vectors), G)["lrds"].value, abs=1e-12)


# What is injected is found in its part (the fault battery) --------------------------------------------------------------


def raw_components(vectors_GMN: Tensor) -> dict[str, Estimate]:
    flat = vectors_GMN.reshape(-1, vectors_GMN.shape[2])
    return components(flat @ flat.T, len(vectors_GMN))


@pytest.fixture
def vectors_GMN() -> Tensor:
    return torch.randn(G, 30, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_an_offset_per_language_raises_lrds_by_its_variance_and_leaves_sads(vectors_GMN: Tensor) -> None:
    vectors_GMN = vectors_GMN - vectors_GMN.mean(dim=(0, 1))
    offset_G1N = torch.randn(G, 1, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    offset_G1N -= offset_G1N.mean(dim=0)
    before, after = raw_components(vectors_GMN), raw_components(vectors_GMN + offset_G1N)
    mean_G1N = vectors_GMN.mean(dim=1, keepdim=True)
    expected = ((offset_G1N + 2 * (mean_G1N - mean_G1N.mean(dim=0))) * offset_G1N).sum() / (G - 1)
    assert after["lrds"].value - before["lrds"].value == pytest.approx(float(expected), abs=1e-9)
    assert after["sads"].value == pytest.approx(before["sads"].value, abs=1e-9)


def test_scaling_everything_changes_no_share(vectors_GMN: Tensor) -> None:
    before, after = raw_components(vectors_GMN), raw_components(3 * vectors_GMN)
    for name in ("language_share", "meaning_share", "alignment"):
        assert after[name].value == pytest.approx(before[name].value, abs=1e-12)


def test_shuffling_the_meanings_of_one_language_takes_away_the_part_of_its_pairs() -> None:
    meaning_MN = torch.randn(200, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    vectors_GMN = meaning_MN.expand(G, -1, -1).clone()
    before = raw_components(vectors_GMN)["sads"].value
    vectors_GMN[0] = vectors_GMN[0].roll(1, dims=0)
    assert raw_components(vectors_GMN)["sads"].value == pytest.approx(before * (1 - 2 / G), abs=0.15 * before)


# Intervals --------------------------------------------------------------------------------------------------------------


def test_the_error_is_that_of_the_jackknife_by_hand() -> None:
    estimate = Estimate(1.0, torch.tensor([1.0, -2.0, 0.5, 0.5], dtype=torch.float64))
    assert estimate.error() == pytest.approx(math.sqrt((1 + 4 + 0.25 + 0.25) / (4 * 3)))
    low, high = estimate.interval(0.95)
    assert high - estimate.value == pytest.approx(3.182446 * estimate.error(), rel=1e-6)  # t with 3 degrees of freedom
    assert estimate.value - low == pytest.approx(high - estimate.value)


def test_documents_are_left_out_whole() -> None:
    influence = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.5, -0.5], dtype=torch.float64)
    found = Estimate(0.25, influence).of_groups(torch.tensor([0, 0, 1, 1, 2, 2]))
    assert found.error() == pytest.approx(math.sqrt(3 / 2 * (4 + 4 + 0)) / 6)
    assert found.error() > Estimate(0.25, influence).error()
    low, high = found.interval(0.95)
    assert (low + high) / 2 == pytest.approx(0.25)
    assert high - 0.25 == pytest.approx(4.302653 * found.error(), rel=1e-6)  # t with 2 degrees of freedom: documents less one
    alone = Estimate(0.25, influence).of_groups(torch.arange(6))
    torch.testing.assert_close(alone.influence_M, influence)


def test_the_difference_of_two_runs_is_paired() -> None:
    one, other = Estimate(0.5, torch.tensor([1.0, -1.0, 2.0, -2.0])), Estimate(0.4, torch.tensor([1.0, -1.0, 2.0, -2.0]))
    assert (one - other).value == pytest.approx(0.1)
    assert (one - other).error() == 0
    with pytest.raises(ValueError, match="4 meanings cannot be paired with 3"):
        one - Estimate(0.0, torch.zeros(3))


def coverage(statistic: Callable[[int], Estimate], truth: float, repetitions: int) -> float:
    """How often the interval of 95 % holds the truth."""
    intervals = [statistic(seed).interval(0.95) for seed in range(1, repetitions + 1)]
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.slow
@pytest.mark.parametrize("log_normal", [False, True], ids=["gaussian", "log-normal"])
@pytest.mark.parametrize("meanings", [50, 100])
@pytest.mark.parametrize("name", ["lrds", "sads", "language_share", "meaning_share"])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str, meanings: int, log_normal: bool) -> None:
    truth = components(similarity(unit_vectors(6000, 10**6, log_normal=log_normal)), G)[name].value
    found = coverage(
        lambda seed: components(similarity(unit_vectors(meanings, seed, log_normal=log_normal)), G)[name], truth, 1000
    )
    assert 0.93 <= found <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("log_normal", [False, True], ids=["gaussian", "log-normal"])
def test_paired_differences_hold_the_truth_and_are_much_narrower_than_unpaired(log_normal: bool) -> None:
    def two_runs(meanings: int, seed: int) -> tuple[Estimate, Estimate]:
        """SADS of the same sentences in two models: the second has a little noise of its own."""
        vectors = unit_vectors(meanings, seed, log_normal=log_normal)
        noise = torch.from_numpy(np.random.default_rng(seed + 10**7).normal(size=tuple(vectors.shape)))
        other = vectors + 0.05 * noise
        other /= other.norm(dim=1, keepdim=True)
        return components(similarity(vectors), G)["sads"], components(similarity(other), G)["sads"]

    one, other = two_runs(6000, 10**6)
    truth = one.value - other.value
    runs = [two_runs(50, seed) for seed in range(1, 1001)]
    intervals = [(one - other).interval(0.95) for one, other in runs]
    assert 0.93 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.97
    paired = np.mean([(one - other).error() for one, other in runs])
    unpaired = np.mean([math.hypot(one.error(), other.error()) for one, other in runs])
    assert paired < unpaired / 3


@pytest.mark.slow
def test_a_band_over_layers_holds_all_of_them_together() -> None:
    layers, meanings, hits, pointwise = 12, 50, 0, 0
    truths = [components(similarity(unit_vectors(4000, 10**6 + layer)), G)["sads"].value for layer in range(layers)]
    for seed in range(1, 301):
        found = [components(similarity(unit_vectors(meanings, 1000 * seed + layer)), G)["sads"] for layer in range(layers)]
        band = simultaneous_band(found, 0.95, seed)
        hits += all(low <= truth <= high for truth, (low, high) in zip(truths, band, strict=True))
        pointwise += all(
            low <= truth <= high for truth, (low, high) in zip(truths, [e.interval(0.95) for e in found], strict=True)
        )
    assert 0.90 <= hits / 300 <= 0.98
    assert pointwise / 300 < 0.75


def test_a_band_is_wider_than_the_interval_and_one_layer_alone_is_not() -> None:
    found = [components(similarity(unit_vectors(40, layer)), G)["sads"] for layer in range(10)]
    for estimate, (low, high) in zip(found, simultaneous_band(found, 0.95, 0), strict=True):
        assert high - low > 1.2 * np.subtract(*reversed(estimate.interval(0.95)))
    ((low, high),) = simultaneous_band(found[:1], 0.95, 0)
    assert high - low == pytest.approx(np.subtract(*reversed(found[0].interval(0.95))), rel=0.1)
    constant = Estimate(0.3, torch.zeros(40, dtype=torch.float64))
    assert simultaneous_band([constant], 0.95, 0) == [(0.3, 0.3)]
