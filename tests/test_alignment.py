"""Measures of alignment beside the paper's two, against their definitions sentence by sentence, and in the tables."""

import numpy as np
import pytest
import torch
from recorded import labelled
from torch import Tensor

from lf_experiments.equations import activation_norm, activation_vectors
from lf_experiments.measures.alignment.anc import anc
from lf_experiments.measures.alignment.cka import cka
from lf_experiments.measures.alignment.language_id import language_id
from lf_experiments.measures.alignment.mexa import mexa
from lf_experiments.measures.blocks import language_blocks, over_pairs
from lf_experiments.measures.similarity import compare

LANGUAGES, MEANINGS = 4, 6
LANGUAGE_S = torch.arange(LANGUAGES).repeat_interleave(MEANINGS)
MEANING_S = torch.arange(MEANINGS).repeat(LANGUAGES)


def noise(languages: int, meanings: int, seed: int) -> Tensor:
    """The blocks of the similarity map of random vectors."""
    a_SN = torch.randn(languages * meanings, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a_SN /= a_SN.norm(dim=1, keepdim=True)
    labels = torch.arange(languages).repeat_interleave(meanings), torch.arange(meanings).repeat(languages)
    return language_blocks(a_SN @ a_SN.T, *labels)


@pytest.fixture
def aligned() -> list[Tensor]:
    """Activations of two layers that know meanings, not very well."""
    generator = torch.Generator().manual_seed(1)
    meaning_MN = torch.randn(MEANINGS, 20, generator=generator)
    noise_SN = torch.randn(len(MEANING_S), 20, generator=generator)
    return [meaning_MN[MEANING_S] + 1.5 * noise_SN, torch.randn(len(MEANING_S), 7, generator=generator)]


def mexa_by_hand(block_RR: np.ndarray) -> float:
    """The share of i with b_ii > b_ij and b_ii > b_ji for all other j."""
    size = len(block_RR)
    hits = [all(block_RR[i, i] > max(block_RR[i, j], block_RR[j, i]) for j in range(size) if j != i) for i in range(size)]
    return sum(hits) / size


def test_mexa_is_its_definition_for_every_pair_and_layer(aligned: list[Tensor]) -> None:
    comparison = compare(labelled(aligned, LANGUAGE_S, MEANING_S), ["mexa"])
    blocks = comparison.similarity_SS.view(LANGUAGES, MEANINGS, LANGUAGES, MEANINGS).numpy()
    pairs = comparison.by_pair().set_index(["layer", "language", "other"])["mexa"]
    expected = [mexa_by_hand(blocks[one, :, other]) for one in range(LANGUAGES) for other in range(one + 1, LANGUAGES)]
    assert pairs.loc[-1].tolist() == pytest.approx(expected)
    assert comparison.whole["mexa"] == pytest.approx(np.mean(expected)) and 0.3 < np.mean(expected) < 0.95
    assert comparison.by_layer()["mexa"].tolist() == pytest.approx(pairs.loc[0:].groupby("layer").mean().tolist())


def test_mexa_of_noise_is_what_guessing_gives() -> None:
    found = [over_pairs(mexa(noise(5, 10, seed))) for seed in range(60)]
    assert np.mean(found) == pytest.approx(1 / 19, abs=0.01)


def test_mexa_counts_a_tie_as_a_miss_and_perfect_translations_as_hits() -> None:
    identity = torch.eye(3, dtype=torch.float64)
    perfect = torch.stack([torch.stack([identity, identity])] * 2).permute(0, 2, 1, 3)
    assert over_pairs(mexa(perfect)) == 1
    assert over_pairs(mexa(torch.ones_like(perfect))) == 0
    one_tie = perfect.clone()
    one_tie[0, 0, 1, 2] = one_tie[1, 2, 0, 0] = 1  # meaning 0 is as near to meaning 2, from the side of either
    assert mexa(one_tie)[0, 1] == pytest.approx(1 / 3)


def test_mexa_is_the_same_from_both_sides_and_has_no_unit() -> None:
    blocks = noise(4, 8, 3)
    assert torch.equal(mexa(blocks), mexa(blocks).T)
    assert torch.equal(mexa(blocks), mexa(5 * blocks - 2))


def test_common_is_the_mean_similarity_of_sentences_that_share_nothing(aligned: list[Tensor]) -> None:
    comparison = compare(labelled(aligned, LANGUAGE_S, MEANING_S), ["common"])
    map_SS, size = comparison.similarity_SS, len(LANGUAGE_S)
    labels = list(zip(LANGUAGE_S.tolist(), MEANING_S.tolist(), strict=True))
    for row in comparison.by_pair().query("layer == -1").itertuples():
        of_two = [
            {f"language {labels[i][0]}", f"language {labels[j][0]}"} == {row.language, row.other}
            for i in range(size)
            for j in range(size)
        ]
        differ = [labels[i][1] != labels[j][1] for i in range(size) for j in range(size)]
        chosen = [value for value, *both in zip(map_SS.flatten().tolist(), of_two, differ, strict=True) if all(both)]
        assert len(chosen) == 2 * MEANINGS * (MEANINGS - 1)
        assert row.common == pytest.approx(np.mean(chosen), abs=1e-12)
    assert comparison.whole["common"] == pytest.approx(comparison.by_pair().query("layer == -1")["common"].mean(), abs=1e-12)


def test_one_is_common_and_lrds_and_sads_and_the_rest(aligned: list[Tensor]) -> None:
    """The rest is the residual mean square of a two-way analysis of variance of the activation vectors."""
    scores = compare(labelled(aligned, LANGUAGE_S, MEANING_S)).whole
    norm_S = activation_norm(aligned)
    a_GRK = torch.cat([activation_vectors(h_SN, norm_S) for h_SN in aligned], dim=1).view(LANGUAGES, MEANINGS, -1)
    rest_GRK = a_GRK - a_GRK.mean(dim=0, keepdim=True) - a_GRK.mean(dim=1, keepdim=True) + a_GRK.mean(dim=(0, 1))
    rest = float(rest_GRK.square().sum()) / ((LANGUAGES - 1) * (MEANINGS - 1))
    assert scores["common"] + scores["lrds"] + scores["sads"] + rest == pytest.approx(1, abs=1e-6)


# CKA and the identification of languages ------------------------------------------------------------------------------------


def blocks_of(a_SN: Tensor, languages: int) -> Tensor:
    a_SN = a_SN / a_SN.norm(dim=1, keepdim=True)
    meanings = len(a_SN) // languages
    labels = torch.arange(languages).repeat_interleave(meanings), torch.arange(meanings).repeat(languages)
    return language_blocks(a_SN @ a_SN.T, *labels)


def hsic_by_hand(k_RR: np.ndarray, l_RR: np.ndarray) -> float:
    """Song et al. (2012), eq. (5), as it is printed."""
    n = len(k_RR)
    k, l = k_RR - np.diag(np.diag(k_RR)), l_RR - np.diag(np.diag(l_RR))  # noqa: E741
    one = np.ones(n)
    sums = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + sums - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


def test_cka_is_its_definition(aligned: list[Tensor]) -> None:
    comparison = compare(labelled(aligned, LANGUAGE_S, MEANING_S), ["cka"])
    blocks = comparison.similarity_SS.view(LANGUAGES, MEANINGS, LANGUAGES, MEANINGS).numpy()
    for one in range(LANGUAGES):
        for other in range(LANGUAGES):
            k, of_other = blocks[one, :, one], blocks[other, :, other]
            expected = hsic_by_hand(k, of_other) / np.sqrt(hsic_by_hand(k, k) * hsic_by_hand(of_other, of_other))
            assert float(comparison.whole.value_GG["cka"][one, other]) == pytest.approx(expected, abs=1e-9)


def test_cka_of_noise_is_nothing_and_that_of_shifted_copies_is_one() -> None:
    assert abs(np.mean([over_pairs(cka(noise(5, 12, seed))) for seed in range(60)])) < 0.02
    meaning_RN = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation_NN = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    a_SN = torch.cat([meaning_RN, meaning_RN @ rotation_NN])
    assert over_pairs(cka(blocks_of(a_SN, 2))) == pytest.approx(1)


def test_cka_of_sentences_that_are_all_alike_is_nothing_and_of_three_meanings_left_out() -> None:
    a_SN = torch.cat([torch.ones(5, 4), torch.randn(5, 4)]).double()
    assert over_pairs(cka(blocks_of(a_SN, 2))) == 0
    three = labelled([torch.randn(6, 4)], torch.arange(2).repeat_interleave(3), torch.arange(3).repeat(2))
    assert "cka" not in compare(three).whole.scores() and "lrds" in compare(three).whole.scores()


def test_language_identification_is_the_nearest_mean_with_the_meaning_left_out(aligned: list[Tensor]) -> None:
    aligned = [aligned[0] + 2.5 * torch.nn.functional.one_hot(LANGUAGE_S, 20), aligned[1]]
    comparison = compare(labelled(aligned, LANGUAGE_S, MEANING_S), ["language_id"])
    a_SK = torch.cat(aligned, dim=1).double()
    a_GRK = (a_SK / a_SK.norm(dim=1, keepdim=True)).view(LANGUAGES, MEANINGS, -1).numpy()
    for one in range(LANGUAGES):
        for other in set(range(LANGUAGES)) - {one}:
            right = 0
            for own, rival in ((one, other), (other, one)):
                for meaning in range(MEANINGS):
                    rest = [m for m in range(MEANINGS) if m != meaning]
                    x = a_GRK[own, meaning]
                    near, far = (np.linalg.norm(x - a_GRK[language, rest].mean(axis=0)) for language in (own, rival))
                    right += near < far
            assert float(comparison.whole.value_GG["language_id"][one, other]) == pytest.approx(right / (2 * MEANINGS))
    assert 0.55 < comparison.whole["language_id"] < 1


def test_languages_of_noise_are_identified_by_guessing_and_languages_apart_always() -> None:
    assert np.mean([over_pairs(language_id(noise(4, 10, seed))) for seed in range(60)]) == pytest.approx(0.5, abs=0.05)
    a_SN = torch.eye(3, dtype=torch.float64).repeat_interleave(5, 0) + 0.01 * torch.randn(15, 3)
    assert over_pairs(language_id(blocks_of(a_SN, 3))) == 1


# Neuron by neuron ---------------------------------------------------------------------------------------------------------


def anc_by_hand(h_L_SN: list[Tensor], one: int, other: int) -> float:
    """The mean of Pearson's correlations over meanings, of the neurons of some layers that vary in both languages."""
    found = []
    for h_SN in h_L_SN:
        for h_S in h_SN.double().numpy().T:
            first, second = ([h_S[language * MEANINGS + meaning] for meaning in range(MEANINGS)] for language in (one, other))
            if len(set(first)) > 1 and len(set(second)) > 1:
                found.append(np.corrcoef(first, second)[0, 1])
    return float(np.mean(found))


def test_anc_is_its_definition_for_every_pair_the_layers_and_the_whole_model(aligned: list[Tensor]) -> None:
    aligned[0][:MEANINGS, 3] = 2.5  # silent in the first language: left out of its pairs, and of no others
    order_S = torch.randperm(len(LANGUAGE_S), generator=torch.Generator().manual_seed(2))
    shuffled = labelled([h_SN[order_S] for h_SN in aligned], LANGUAGE_S[order_S], MEANING_S[order_S])
    pairs = compare(shuffled, ["anc", "lrds"]).by_pair()
    assert len(pairs) == 3 * 6 and {"anc", "lrds"} <= set(pairs)
    for row in pairs.itertuples():
        layers = aligned if row.layer == -1 else [aligned[row.layer]]
        one, other = (int(code.split()[1]) for code in (row.language, row.other))
        assert row.anc == pytest.approx(anc_by_hand(layers, one, other), abs=1e-9)
    whole = pairs[pairs["layer"] == -1]["anc"].mean()
    assert compare(shuffled, ["anc"]).whole["anc"] == pytest.approx(whole) and 0.05 < whole < 0.9


def test_anc_of_noise_is_nothing_and_of_translations_that_are_copies_one() -> None:
    h_GRN = torch.randn(3, 12, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sum_GG, number_GG = anc(h_GRN)
    assert (number_GG == 400).all() and over_pairs(sum_GG / number_GG) == pytest.approx(0, abs=0.03)
    copies_GG, _ = anc(h_GRN[:1] * torch.tensor([1.0, 2, 5]).double()[:, None, None] - 7)  # no scale, no place
    assert copies_GG / 400 == pytest.approx(np.ones((3, 3)))


def test_anc_of_a_layer_in_which_nothing_varies_is_0() -> None:
    still = compare(labelled([torch.ones(len(LANGUAGE_S), 5)], LANGUAGE_S, MEANING_S), ["anc"])
    assert still.whole["anc"] == 0
