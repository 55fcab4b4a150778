"""What shuffled labels give: permutation tests of the right size, the floor of noise, and replication with planted regions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lf_experiments.equations import lrds, sads, standardised
from lf_experiments.measures.uncertainty.nulls import Null, lrds_null, noise_floor, sads_null
from lf_experiments.measures.uncertainty.regrouping import halves, key_neurons_under, shuffled_languages
from lf_experiments.measures.uncertainty.replication import Replication, replication

G = 5


def similarity(meanings: int, seed: int, language: float = 0.0, meaning: float = 0.0) -> Tensor:
    """A map of unit vectors with a planted effect of the language and of the meaning, or none."""
    random = np.random.default_rng(seed)
    vectors = 1 + language * random.normal(size=(G, 1, 12)) + meaning * random.normal(size=(1, meanings, 12))
    vectors = vectors + 0.5 * random.normal(size=(G, meanings, 12))
    vectors = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).reshape(G * meanings, 12)
    return torch.from_numpy(vectors @ vectors.T)


def labels(meanings: int) -> tuple[Tensor, Tensor]:
    return torch.arange(G).repeat_interleave(meanings), torch.arange(meanings).repeat(G)


def contribution_z(total: Tensor, square: Tensor, _: Tensor) -> Tensor:
    """Eq. (11) and (12) from sums."""
    return standardised((total.square() - square) / 2)


# Scores -----------------------------------------------------------------------------------------------------------------


def test_every_shuffle_of_languages_gives_lrds_of_labels_shuffled_within_meanings() -> None:
    map_SS, (language_S, meaning_S) = similarity(6, 1, language=0.3), labels(6)
    random = torch.Generator().manual_seed(3)
    expected = []
    for _ in range(4):
        shuffled = torch.stack([torch.randperm(G, generator=random) for _ in range(6)])  # row: meaning, column: new language
        new_S = torch.empty(G * 6, dtype=torch.long)
        for meaning in range(6):
            for language in range(G):
                new_S[shuffled[meaning, language] * 6 + meaning] = language
        expected.append(lrds(map_SS, new_S, meaning_S))
    torch.testing.assert_close(lrds_null(map_SS, G, 4, seed=3).values, torch.tensor(expected, dtype=torch.float64))
    assert sorted(language_S.tolist()) == sorted(new_S.tolist())


def test_every_shuffle_of_meanings_gives_sads_of_labels_shuffled_within_languages() -> None:
    map_SS, (language_S, _) = similarity(6, 1, meaning=0.3), labels(6)
    random = torch.Generator().manual_seed(3)
    expected = []
    for _ in range(4):
        shuffled = torch.stack([torch.randperm(6, generator=random) for _ in range(G)])
        new_S = torch.empty(G * 6, dtype=torch.long)
        for language in range(G):
            for meaning in range(6):
                new_S[language * 6 + shuffled[language, meaning]] = meaning
        expected.append(sads(map_SS, language_S, new_S))
    torch.testing.assert_close(sads_null(map_SS, G, 4, seed=3).values, torch.tensor(expected, dtype=torch.float64))


def test_the_mean_of_both_nulls_is_nothing_and_a_real_effect_is_beyond_them() -> None:
    map_SS = similarity(20, 2, language=0.5, meaning=0.5)
    for null, score in ((lrds_null, lrds), (sads_null, sads)):
        found, value = null(map_SS, G, 199, 0), score(map_SS, *labels(20))
        assert abs(found.mean) < 0.05 * value
        assert found.p_value(value) == 1 / 200
        low, high = found.interval(0.95)
        assert low < 0 < high < value


@pytest.mark.slow
@pytest.mark.parametrize(("null", "score"), [(lrds_null, lrds), (sads_null, sads)], ids=["lrds", "sads"])
def test_without_an_effect_a_twentieth_of_the_p_values_is_below_a_twentieth(null, score) -> None:
    p_values = []
    for seed in range(1000):
        map_SS = similarity(8, seed)
        p_values.append(null(map_SS, G, 99, seed).p_value(score(map_SS, *labels(8))))
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(np.array(p_values) <= 0.5) == pytest.approx(0.5, abs=0.05)


def test_a_p_value_is_never_zero_and_counts_ties() -> None:
    null = Null(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
    assert [null.p_value(value) for value in (3.0, 2.0, 0.5, -1.0)] == [1 / 4, 2 / 4, 3 / 4, 1.0]


# Regions ----------------------------------------------------------------------------------------------------------------


def activations(
    neurons: int, meanings: int, seed: int, languages: int = 9, planted: int = 0, shift: float = 0.0, mean: float = 5.0
) -> Tensor:
    """Noise around `mean`, (S, N); `planted` neurons of each language are `shift` standard deviations higher in it."""
    random = np.random.default_rng(seed)
    h = random.normal(mean, 1, size=(languages, meanings, neurons))
    for language in range(languages):
        h[language, :, language * planted : (language + 1) * planted] += shift
    return torch.from_numpy(h.reshape(languages * meanings, neurons)).float()


@pytest.mark.parametrize(("languages", "threshold", "expected"), [(9, 2.0, 0.149), (10, 2.0, 0.176), (20, 2.0, 0.419)])
def test_the_floor_of_noise_is_what_noise_gives(languages: int, threshold: float, expected: float) -> None:
    assert noise_floor(languages, threshold) == pytest.approx(expected, abs=0.001)
    h_SN = activations(20_000, 20, 0, languages, mean=50.0)
    identity = torch.arange(languages).repeat_interleave(20)[None]
    (is_key,) = key_neurons_under([h_SN], identity, languages, contribution_z, threshold)
    assert int(is_key.sum()) / 20_000 == pytest.approx(expected, abs=0.01)
    assert noise_floor(languages, float(np.sqrt(languages - 1))) == 0


def test_the_regions_of_a_grouping_are_those_of_its_sentences_alone() -> None:
    h_L_SN = [activations(30, 6, 1, languages=G), activations(17, 6, 2, languages=G)]
    language_BS = torch.cat([halves(G, 6, 2, seed=0), shuffled_languages(G, 6, 3, seed=0)])
    norm_S = torch.cat(h_L_SN, dim=1).double().norm(dim=1)
    for layer, is_key_BGN in enumerate(key_neurons_under(h_L_SN, language_BS, G, contribution_z, 1.5)):
        assert is_key_BGN.shape == (7, G, h_L_SN[layer].shape[1])
        for grouping, language_S in enumerate(language_BS):
            score_GN = []
            for language in range(G):
                rows = [h_L_SN[layer][s].double() / norm_S[s] for s in range(len(language_S)) if language_S[s] == language]
                score_GN.append(sum(rows[i] * rows[j] for i in range(len(rows)) for j in range(i + 1, len(rows))))
            z_GN = standardised(torch.stack(score_GN))
            assert ((z_GN > 1.5) == is_key_BGN[grouping])[(z_GN - 1.5).abs() > 1e-3].all()


def test_halves_are_complementary_and_the_same_in_every_language() -> None:
    language_BS = halves(G, 7, 3, seed=1).view(3, 2, G, 7)
    kept = language_BS >= 0
    assert (kept.sum(dim=(1, 3)) == 6).all()
    assert not (kept[:, 0] & kept[:, 1]).any()
    assert (kept == kept[:, :, :1]).all()
    assert not torch.equal(kept[0], kept[1])


def test_shuffled_languages_keep_every_meaning_once_per_language() -> None:
    language_BGn = shuffled_languages(G, 4, 50, seed=0).view(50, G, 4)
    assert (language_BGn.sort(dim=1).values == torch.arange(G)[None, :, None]).all()
    assert (language_BGn == torch.arange(G)[None, :, None]).float().mean() < 0.3


@pytest.mark.parametrize("mean", [0.0, 1.0, 5.0])
def test_without_an_effect_sklr_is_its_null(mean: float) -> None:
    h_SN = activations(4000, 30, 3, mean=mean)
    identity = torch.arange(9).repeat_interleave(30)[None]
    (is_key,) = key_neurons_under([h_SN], identity, 9, contribution_z, 2.0)
    (shuffled,) = key_neurons_under([h_SN], shuffled_languages(9, 30, 20, 0), 9, contribution_z, 2.0)
    assert (int(is_key.sum()) - float(shuffled.sum(dim=(1, 2)).float().mean())) / 4000 == pytest.approx(0, abs=0.02)


def halves_of(h_SN: Tensor, meanings: int) -> Replication:
    return replication(key_neurons_under([h_SN], halves(9, meanings, 20, seed=1), 9, contribution_z, 2.0))


def test_planted_regions_are_found_again_and_noise_is_not() -> None:
    neurons, planted = 3600, 40  # 10 % of the neurons, in nine languages
    found = halves_of(activations(neurons, 100, 4, planted=planted, shift=1.0), 100)
    (kept_GN,) = found.replicated_L_GN
    truth_GN = torch.zeros_like(kept_GN)
    for language in range(9):
        truth_GN[language, language * planted : (language + 1) * planted] = True
    assert (kept_GN & truth_GN).sum() / kept_GN.sum() >= 0.95
    assert (kept_GN & truth_GN).sum() / truth_GN.sum() >= 0.95
    of_half, of_both = found.precision_G
    true_share = (truth_GN.sum(dim=1) / (found.size_RG.mean(dim=0))).clamp_max(1)
    assert (of_half - true_share).abs().mean() < 0.05
    assert of_both.mean() > 0.9

    noise = halves_of(activations(20_000, 50, 5), 50)
    assert noise.stability_G.abs().max() < 0.03
    assert noise.replicated_L_GN[0].sum() / 20_000 < 0.001
    assert noise.precision[1] < 0.2 < 0.9 < found.precision[1]
    assert (noise.dice_G < found.dice_G).all()


def test_the_agreement_of_halves_by_hand() -> None:
    first = torch.tensor([[1, 1, 0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    second = torch.tensor([[1, 0, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    found = replication([torch.stack([first, second])])
    assert found.dice_G.tolist() == [0.5]
    rates = (first.double() + second.double()) / 2
    expected = 1 - 2 * (rates * (1 - rates)).mean() / (0.25 * 0.75)
    assert found.stability_G.item() == pytest.approx(float(expected))
    assert found.frequency_L_GN[0].tolist() == [[1.0, 0.5, 0.5, 0, 0, 0, 0, 0]]
    alpha = (2 / 8 - 1 / 8) / (1 - 2 / 8)
    assert found.precision_G[0].item() == pytest.approx((1 - (1 - 2 / 8) / (1 - alpha)) / (2 / 8))
    nothing = replication([torch.zeros(2, 1, 8, dtype=torch.bool)])
    assert nothing.dice_G.item() == nothing.stability_G.item() == nothing.precision_G[0].item() == 0
