"""The comparison of sentences, layer by layer, equals the paper's procedure on whole activation vectors."""

import numpy as np
import pytest
import torch

from lf_experiments.measures.equations import similarity_map
from lf_experiments.measures.similarity import compare

LAYERS, NEURONS, LANGUAGES, MEANINGS = 3, 7, 4, 3


@pytest.fixture
def study():
    """Activations whose layers differ in scale, with languages and meanings in no order."""
    random = torch.Generator().manual_seed(3)
    order = torch.randperm(LANGUAGES * MEANINGS, generator=random)
    language_S = torch.arange(LANGUAGES).repeat_interleave(MEANINGS)[order]
    meaning_S = torch.arange(MEANINGS).repeat(LANGUAGES)[order]
    h_LSN = torch.randn(LAYERS, len(order), NEURONS, generator=random)
    h_LSN[0] += torch.randn(LANGUAGES, NEURONS, generator=random)[language_S]
    h_LSN[1] += 3 * torch.randn(MEANINGS, NEURONS, generator=random)[meaning_S]
    h_LSN[2] *= 5
    return h_LSN, language_S, meaning_S


def test_map_and_scores_equal_the_pair_by_pair_evaluation(study, by_hand):
    h_LSN, language_S, meaning_S = study
    languages, meanings = language_S.tolist(), meaning_S.tolist()
    expected_SS = by_hand.similarity(by_hand.unit_vectors(h_LSN))
    comparison = compare(h_LSN, language_S, meaning_S)
    np.testing.assert_allclose(comparison.similarity_SS, expected_SS, atol=1e-6)
    assert comparison.lrds == pytest.approx(by_hand.lrds(expected_SS, languages, meanings), abs=1e-6)
    assert comparison.sads == pytest.approx(by_hand.sads(expected_SS, languages, meanings), abs=1e-6)


def test_each_layer_has_the_scores_of_a_model_of_that_layer_alone(study, by_hand):
    h_LSN, language_S, meaning_S = study
    comparison = compare(h_LSN, language_S, meaning_S)
    assert len(comparison.layer_lrds) == len(comparison.layer_sads) == LAYERS
    for layer in range(LAYERS):
        alone = compare(h_LSN[layer : layer + 1], language_S, meaning_S)
        assert comparison.layer_lrds[layer] == alone.lrds
        assert comparison.layer_sads[layer] == alone.sads
        map_SS = by_hand.similarity(by_hand.unit_vectors(h_LSN[layer : layer + 1]))
        assert alone.lrds == pytest.approx(by_hand.lrds(map_SS, language_S.tolist(), meaning_S.tolist()), abs=1e-6)
        assert alone.sads == pytest.approx(by_hand.sads(map_SS, language_S.tolist(), meaning_S.tolist()), abs=1e-6)


def test_layers_show_the_language_or_the_meaning_that_was_put_into_them(study):
    comparison = compare(*study)
    assert max(range(LAYERS), key=comparison.layer_lrds.__getitem__) == 0
    assert max(range(LAYERS), key=comparison.layer_sads.__getitem__) == 1


def test_the_whole_model_is_not_the_mean_of_its_layers(study):
    """Eq. (6) joins the layers before it scales them: a layer of large activations weighs more."""
    comparison = compare(*study)
    assert abs(comparison.lrds - np.mean(comparison.layer_lrds)) > 1e-3


def test_the_map_is_symmetric_with_ones_on_the_diagonal(study):
    map_SS = compare(*study).similarity_SS
    assert map_SS.dtype == torch.float64
    torch.testing.assert_close(map_SS, map_SS.T)
    torch.testing.assert_close(map_SS.diagonal(), torch.ones(len(map_SS), dtype=torch.float64))


def test_longer_activations_of_one_sentence_change_nothing(study):
    h_LSN, language_S, meaning_S = study
    louder_LSN = h_LSN.clone()
    louder_LSN[:, 4] *= 16
    torch.testing.assert_close(
        compare(louder_LSN, language_S, meaning_S).similarity_SS, compare(h_LSN, language_S, meaning_S).similarity_SS
    )


def test_rows_may_stand_in_any_order(study):
    h_LSN, language_S, meaning_S = study
    order = torch.randperm(len(language_S), generator=torch.Generator().manual_seed(5))
    here, there = compare(*study), compare(h_LSN[:, order], language_S[order], meaning_S[order])
    torch.testing.assert_close(there.similarity_SS, here.similarity_SS[order][:, order])
    assert there.lrds == pytest.approx(here.lrds, abs=1e-9)
    assert there.sads == pytest.approx(here.sads, abs=1e-9)


def test_meanings_shuffled_within_the_languages_lose_their_alignment(study):
    h_LSN, language_S, meaning_S = study
    shuffled_S = (meaning_S + language_S) % MEANINGS
    assert compare(h_LSN, language_S, meaning_S).sads > compare(h_LSN, language_S, shuffled_S).sads + 0.05


def test_languages_shuffled_lose_their_distinction(study):
    h_LSN, language_S, meaning_S = study
    shuffled_S = (language_S + meaning_S) % LANGUAGES
    assert compare(h_LSN, language_S, meaning_S).layer_lrds[0] > compare(h_LSN, shuffled_S, meaning_S).layer_lrds[0] + 0.05


def test_a_sample_that_activates_nothing_is_like_no_sample():
    similarity_SS = similarity_map(torch.tensor([[4.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 4.0]]))
    assert similarity_SS.tolist() == [[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 1.0]]
