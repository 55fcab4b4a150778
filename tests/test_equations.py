"""Each numbered equation against the paper's own sums, and what must hold of it whatever the numbers."""

import math

import numpy as np
import pytest
import torch

from lf_experiments import equations

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture
def random():
    return torch.Generator().manual_seed(7)


def mixed_labels(random):
    """Languages and meanings of 24 sentences in no order, so that nothing can be found by stride."""
    language_S = torch.arange(4).repeat_interleave(6)
    meaning_S = torch.arange(6).repeat(4)
    order = torch.randperm(24, generator=random)
    return language_S[order], meaning_S[order]


def random_map(size, random):
    """A symmetric map with ones on the diagonal."""
    a = torch.nn.functional.normalize(torch.randn(size, 9, dtype=torch.float64, generator=random) + 0.5, dim=1)
    return a @ a.T


def test_mean_activation_is_the_mean_over_the_tokens_of_each_sentence(random, by_hand):
    h_STN, lengths = torch.randn(4, 7, 5, generator=random), [7, 1, 4, 3]
    mask_ST = (torch.arange(7) < torch.tensor(lengths)[:, None]).long()
    expected = [by_hand.mean_activation(h_TN[:length].tolist()) for h_TN, length in zip(h_STN, lengths, strict=True)]
    mean_SN = equations.mean_activation(h_STN, mask_ST)
    np.testing.assert_allclose(mean_SN, np.array(expected), rtol=1e-5, atol=1e-6)


def test_mean_activation_ignores_what_stands_at_padding(random):
    h_STN, mask_ST = torch.randn(2, 5, 3, generator=random), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    disturbed = h_STN + 1000 * (1 - mask_ST)[:, :, None]
    assert torch.equal(equations.mean_activation(disturbed, mask_ST), equations.mean_activation(h_STN, mask_ST))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mean_activation_of_a_narrow_dtype_is_summed_in_float32(dtype):
    """A thousand tokens of 1 and one of 2: in bfloat16 the sum would stop growing at 256, and the mean would round to 1."""
    h_STN = torch.ones(1, 1001, 1, dtype=dtype)
    h_STN[0, 500] = 2
    mean_SN = equations.mean_activation(h_STN, torch.ones(1, 1001, dtype=torch.long))
    assert mean_SN.dtype == torch.float32
    assert mean_SN.item() == pytest.approx(1002 / 1001, abs=1e-6)
    assert (torch.tensor(1002) / 1001).to(dtype).item() != pytest.approx(1002 / 1001, abs=1e-6)


def test_activation_vectors_are_the_concatenated_layers_scaled_to_length_one(random, by_hand):
    h_LSN = torch.randn(3, 5, 4, dtype=torch.float64, generator=random)
    norm_S = equations.activation_norm(h_LSN)
    a_SK = torch.cat([equations.activation_vectors(h_SN, norm_S) for h_SN in h_LSN], dim=1)
    np.testing.assert_allclose(a_SK, by_hand.unit_vectors(h_LSN), **TOLERANCE)
    np.testing.assert_allclose(a_SK.square().sum(dim=1), np.ones(5), **TOLERANCE)


def test_similarity_map_is_the_inner_product_of_unit_vectors(random, by_hand):
    h_LSN = torch.randn(2, 6, 4, dtype=torch.float64, generator=random)
    gram_SS = sum(h_SN @ h_SN.T for h_SN in h_LSN)
    expected = by_hand.similarity(by_hand.unit_vectors(h_LSN))
    np.testing.assert_allclose(equations.similarity_map(gram_SS), expected, **TOLERANCE)


def test_lrds_equals_the_pair_by_pair_average(random, by_hand):
    language_S, meaning_S = mixed_labels(random)
    map_SS = random_map(24, random)
    expected = by_hand.lrds(map_SS, language_S.tolist(), meaning_S.tolist())
    assert equations.lrds(map_SS, language_S, meaning_S) == pytest.approx(expected, abs=1e-12)


def test_sads_equals_the_pair_by_pair_average(random, by_hand):
    language_S, meaning_S = mixed_labels(random)
    map_SS = random_map(24, random)
    expected = by_hand.sads(map_SS, language_S.tolist(), meaning_S.tolist())
    assert equations.sads(map_SS, language_S, meaning_S) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("score", [equations.lrds, equations.sads])
def test_scores_do_not_depend_on_the_order_of_the_rows(score, random):
    language_S, meaning_S = mixed_labels(random)
    map_SS, order = random_map(24, random), torch.randperm(24, generator=random)
    permuted = score(map_SS[order][:, order], language_S[order], meaning_S[order])
    assert permuted == pytest.approx(score(map_SS, language_S, meaning_S), abs=1e-12)


@pytest.mark.parametrize("score", [equations.lrds, equations.sads])
def test_scores_change_when_meanings_are_shuffled_within_a_language(score, random):
    """The control of the test above: the scores do look at the labels."""
    language_S, meaning_S = mixed_labels(random)
    map_SS = random_map(24, random)
    shuffled_S = meaning_S.clone()
    of_one_language = language_S == 2
    shuffled_S[of_one_language] = meaning_S[of_one_language].roll(1)
    assert abs(score(map_SS, language_S, shuffled_S) - score(map_SS, language_S, meaning_S)) > 1e-4


def test_scores_of_maps_made_of_labels_alone_are_one_and_zero(random):
    language_S, meaning_S = mixed_labels(random)
    by_language = (language_S[:, None] == language_S).double()
    by_meaning = (meaning_S[:, None] == meaning_S).double()
    assert equations.lrds(by_language, language_S, meaning_S) == 1
    assert equations.sads(by_language, language_S, meaning_S) == 0
    assert equations.lrds(by_meaning, language_S, meaning_S) == 0
    assert equations.sads(by_meaning, language_S, meaning_S) == 1


def test_average_similarity_is_the_mean_over_pairs_of_different_sentences(random, by_hand):
    map_RR = random_map(7, random)
    assert equations.average_similarity(map_RR) == pytest.approx(by_hand.average_similarity(map_RR), abs=1e-12)


def test_contribution_scores_equal_the_sum_over_pairs(random, by_hand):
    a_RN = torch.randn(6, 8, dtype=torch.float64, generator=random)
    np.testing.assert_allclose(equations.contribution_scores(a_RN), by_hand.contribution_scores(a_RN), **TOLERANCE)


def test_contribution_scores_are_float64_even_of_float32():
    """One loud sentence and one faint one: in float32 the closed form would cancel, where the sum over pairs does not."""
    a_RN = torch.tensor([[1e4], [1e-3]])
    score_N = equations.contribution_scores(a_RN)
    assert score_N.dtype == torch.float64
    assert score_N.item() == pytest.approx(10, rel=1e-6)


def test_contributions_of_all_neurons_add_up_to_the_average_similarity(random, by_hand):
    samples, h_LSN = 5, torch.randn(3, 5, 6, dtype=torch.float64, generator=random)
    norm_S = equations.activation_norm(h_LSN)
    a_SK = torch.cat([equations.activation_vectors(h_SN, norm_S) for h_SN in h_LSN], dim=1)
    total = equations.contribution_scores(a_SK).sum().item()
    expected = by_hand.average_similarity(by_hand.similarity(by_hand.unit_vectors(h_LSN)))
    assert 2 / (samples * (samples - 1)) * total == pytest.approx(expected, abs=1e-12)
    assert equations.average_similarity(a_SK @ a_SK.T) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("languages", [2, 6, 9])
def test_z_scores_equal_the_definition(languages, random, by_hand):
    score_GN = torch.randn(languages, 10, dtype=torch.float64, generator=random) + 3
    np.testing.assert_allclose(equations.z_scores(score_GN), by_hand.z_scores(score_GN), **TOLERANCE)


@pytest.mark.parametrize("languages", [2, 5, 9])
def test_z_scores_are_bounded_by_the_root_of_one_less_than_the_languages(languages, random):
    bound = math.sqrt(languages - 1)
    random_z = equations.z_scores(torch.randn(languages, 1000, dtype=torch.float64, generator=random).exp())
    assert random_z.abs().max() <= bound + 1e-12
    only_one = torch.zeros(languages, 1)
    only_one[0] = 1e-6
    assert equations.z_scores(only_one)[0].item() == pytest.approx(bound, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8, -3.3])
def test_a_neuron_that_never_varies_has_z_zero(value):
    z_GN = equations.z_scores(torch.full((7, 2), value, dtype=torch.float64))
    assert torch.equal(z_GN, torch.zeros(7, 2, dtype=torch.float64))


def test_the_rounding_of_equal_scores_is_not_variation(random):
    """The same sentences summed in another order for every language: scores that differ in the last bit only."""
    a_RN = torch.rand(100, 500, dtype=torch.float64, generator=random)
    orders = [torch.randperm(100, generator=random) for _ in range(9)]
    score_GN = torch.stack([equations.contribution_scores(a_RN[order]) for order in orders])
    assert (score_GN != score_GN[0]).any()
    assert torch.equal(equations.z_scores(score_GN), torch.zeros(9, 500, dtype=torch.float64))


def test_a_constant_neuron_leaves_its_neighbours_alone(random, by_hand):
    score_GN = torch.randn(6, 3, dtype=torch.float64, generator=random)
    score_GN[:, 1] = 0.3
    z_GN = equations.z_scores(score_GN)
    assert torch.equal(z_GN[:, 1], torch.zeros(6, dtype=torch.float64))
    np.testing.assert_allclose(z_GN[:, [0, 2]], by_hand.z_scores(score_GN[:, [0, 2]]), **TOLERANCE)


def test_a_faint_neuron_that_varies_keeps_its_z(random, by_hand):
    score_GN = torch.randn(6, 4, dtype=torch.float64, generator=random) * 1e-12
    np.testing.assert_allclose(equations.z_scores(score_GN), by_hand.z_scores(score_GN), rtol=1e-6)
