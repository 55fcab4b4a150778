"""Key regions equal the paper's definition, find what was planted, and nothing where nothing is."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from recorded import labelled

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import probe
from lf_experiments.measures.regions import Regions, random_region

LAYERS, NEURONS, LANGUAGES, SENTENCES, THRESHOLD = 3, 40, 6, 5, 2.0
LANGUAGE_S = torch.arange(LANGUAGES).repeat_interleave(SENTENCES)
PLANTED = [(g, layer, 5 * g + layer) for g in range(LANGUAGES) for layer in range(LAYERS)]
"""(language, layer, neuron) of the neurons that answer to one language only."""


@pytest.fixture
def noise():
    """Activations that know nothing of languages."""
    return 1 + 0.3 * torch.randn(LAYERS, len(LANGUAGE_S), NEURONS, generator=torch.Generator().manual_seed(11))


@pytest.fixture
def planted(noise):
    h_LSN = noise.clone()
    for language, layer, neuron in PLANTED:
        h_LSN[layer, language == LANGUAGE_S, neuron] += 4
    return h_LSN


@dataclass
class Probed:
    """What the probe finds, as (G, L, N), the languages in the order of their numbers."""

    score_GLN: torch.Tensor
    z_GLN: torch.Tensor
    is_key_GLN: torch.Tensor
    sklr: int


def regions_of(h_LSN, language_S, threshold) -> Regions:
    return probe(labelled(h_LSN, language_S), ProbeConfig("zscore", threshold))


def probed(h_LSN, language_S, threshold) -> Probed:
    regions = regions_of(h_LSN, language_S, threshold)
    order = [regions.languages.index(f"language {number}") for number in range(len(regions.languages))]
    values = (regions.score_L_GN, regions.z_L_GN, regions.is_key_L_GN)
    return Probed(*(torch.stack(list(value), dim=1)[order] for value in values), regions.sklr)


def shuffled(values):
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(2))]


@pytest.mark.parametrize("languages", [LANGUAGE_S, shuffled(LANGUAGE_S)], ids=["in order", "mixed"])
def test_scores_z_and_regions_equal_the_pair_by_pair_evaluation(planted, languages, by_hand):
    regions = probed(planted, languages, 1.0)
    score_GLN, z_GLN = by_hand.scores_and_z(planted, languages.tolist())
    np.testing.assert_allclose(regions.score_GLN, score_GLN, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(regions.z_GLN, z_GLN, rtol=1e-7, atol=1e-7)
    np.testing.assert_array_equal(regions.is_key_GLN, z_GLN > 1.0)
    assert regions.sklr == (z_GLN > 1.0).sum() > (z_GLN > 1.0).any(axis=0).sum(), "a neuron of two regions counts twice"


def test_planted_neurons_are_key_for_their_language_and_no_other(planted):
    is_key_GLN = probed(planted, LANGUAGE_S, THRESHOLD).is_key_GLN
    for language, layer, neuron in PLANTED:
        assert is_key_GLN[:, layer, neuron].nonzero().flatten().tolist() == [language]


def test_hardly_any_other_neuron_is_key(planted):
    is_key_GLN = probed(planted, LANGUAGE_S, THRESHOLD).is_key_GLN.clone()
    for language, layer, neuron in PLANTED:
        is_key_GLN[language, layer, neuron] = False
    assert is_key_GLN.float().mean() < 0.02


@pytest.mark.parametrize("labels", [shuffled(LANGUAGE_S), torch.arange(len(LANGUAGE_S)) % LANGUAGES], ids=["shuffled", "dealt"])
def test_planted_neurons_are_not_found_under_other_labels(planted, labels):
    is_key_GLN = probed(planted, labels, THRESHOLD).is_key_GLN
    found = sum(int(is_key_GLN[language, layer, neuron]) for language, layer, neuron in PLANTED)
    assert found <= 2


def test_relabelling_the_languages_permutes_their_regions(planted):
    new_label = shuffled(torch.arange(LANGUAGES))
    here, there = probed(planted, LANGUAGE_S, THRESHOLD), probed(planted, new_label[LANGUAGE_S], THRESHOLD)
    assert not torch.equal(here.is_key_GLN, there.is_key_GLN)
    assert torch.equal(there.is_key_GLN[new_label], here.is_key_GLN)
    assert torch.equal(there.score_GLN[new_label], here.score_GLN)
    torch.testing.assert_close(there.z_GLN[new_label], here.z_GLN)


def test_the_order_of_the_sentences_does_not_matter(planted):
    order = shuffled(torch.arange(len(LANGUAGE_S)))
    here, there = probed(planted, LANGUAGE_S, THRESHOLD), probed(planted[:, order], LANGUAGE_S[order], THRESHOLD)
    assert torch.equal(there.is_key_GLN, here.is_key_GLN)
    torch.testing.assert_close(there.score_GLN, here.score_GLN)


def test_a_lower_threshold_keeps_every_key_neuron_and_adds_some(planted):
    strict, lenient = (probed(planted, LANGUAGE_S, threshold) for threshold in (2.0, 1.0))
    assert (strict.is_key_GLN & ~lenient.is_key_GLN).sum() == 0
    assert lenient.sklr > strict.sklr > 0
    assert torch.equal(strict.z_GLN, lenient.z_GLN)


def test_a_z_equal_to_the_threshold_does_not_exceed_it(planted):
    at_threshold = float(probed(planted, LANGUAGE_S, THRESHOLD).z_GLN[0, 0, 0])
    assert not probed(planted, LANGUAGE_S, at_threshold).is_key_GLN[0, 0, 0]
    assert probed(planted, LANGUAGE_S, at_threshold - 1e-9).is_key_GLN[0, 0, 0]


def test_no_z_reaches_beyond_its_bound(planted):
    assert probed(planted, LANGUAGE_S, 5**0.5 + 1e-9).sklr == 0


def test_a_silent_neuron_is_never_key(planted):
    planted[1, :, 8] = 0
    regions = probed(planted, LANGUAGE_S, 0.0)
    assert torch.equal(regions.z_GLN[:, 1, 8], torch.zeros(LANGUAGES, dtype=torch.float64))
    assert not regions.is_key_GLN[:, 1, 8].any()


def test_a_sentence_that_activates_nothing_contributes_nothing(planted):
    planted[:, 0] = 0
    kept = torch.arange(len(LANGUAGE_S)) > 0
    regions, without = probed(planted, LANGUAGE_S, 2.0), probed(planted[:, kept], LANGUAGE_S[kept], 2.0)
    assert without.sklr > 0
    assert torch.equal(regions.is_key_GLN, without.is_key_GLN)
    torch.testing.assert_close(regions.score_GLN, without.score_GLN)


def test_the_norm_runs_over_all_layers(planted):
    """A louder last layer lowers the contributions of the first: eq. (6) scales all layers of a sentence together."""
    louder = planted.clone()
    louder[2] *= 10
    assert (probed(louder, LANGUAGE_S, 2).score_GLN[:, 0] < 0.5 * probed(planted, LANGUAGE_S, 2).score_GLN[:, 0]).all()


def drawn(size, seed):
    """A random region as (L, N)."""
    return torch.stack(random_region([NEURONS] * LAYERS, size, seed).where_L_N)


@pytest.mark.parametrize("size", [0, 1, 57, LAYERS * NEURONS])
def test_random_region_has_the_size_asked_for(size):
    region_LN = drawn(size, seed=0)
    assert region_LN.shape == (LAYERS, NEURONS)
    assert region_LN.dtype == torch.bool
    assert region_LN.sum() == size


def test_random_region_is_told_by_its_seed_alone():
    first = drawn(30, seed=4)
    torch.manual_seed(123)
    assert torch.equal(drawn(30, seed=4), first)
    assert not torch.equal(drawn(30, seed=5), first)


def test_random_region_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    random_region([NEURONS] * LAYERS, 30, seed=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_regions_cover_all_layers_and_neurons_alike():
    """Over 400 draws of a quarter of the neurons each is expected 100 times, give or take a standard deviation of 9."""
    drawn_LN = sum(drawn(LAYERS * NEURONS // 4, seed).int() for seed in range(400))
    assert drawn_LN.min() > 50 and drawn_LN.max() < 150
    torch.testing.assert_close(drawn_LN.float().mean(dim=1), torch.full((LAYERS,), 100.0), atol=6, rtol=0)
