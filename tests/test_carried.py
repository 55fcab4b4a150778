"""What a neuron carries of LRDS: eq. (8) with the products of that neuron alone, pair by pair; it adds up to LRDS."""

from __future__ import annotations

import math

import pytest
import torch
from recorded import labelled
from torch import Tensor

import lf_experiments as lf
from lf_experiments.equations import lrds
from lf_experiments.measures import by_language
from lf_experiments.measures.carried import lrds_contribution, share_for_half
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations


@pytest.fixture(scope="module")
def activations(reader: Reader, parallel: dict[str, list[str]]) -> Activations:
    return lf.capture(reader, parallel)


def vectors(activations: Activations) -> Tensor:
    a_SK = torch.cat(list(activations.h_L_SN), dim=1).double()
    return a_SK / a_SK.norm(dim=1, keepdim=True)


def test_a_neuron_carries_eq_8_of_its_own_products(activations: Activations) -> None:
    found_K, a_SK = torch.cat(list(lrds_contribution(activations))), vectors(activations)
    labels = activations.language_S, activations.meaning_S
    for neuron in range(0, len(found_K), 17):
        a_S = a_SK[:, neuron]
        assert float(found_K[neuron]) == pytest.approx(lrds(torch.outer(a_S, a_S), *labels), rel=1e-9, abs=1e-15)
    assert found_K.max() > 0 > found_K.min()


def test_together_they_carry_lrds(activations: Activations) -> None:
    a_SK = vectors(activations)
    expected = lrds(a_SK @ a_SK.T, activations.language_S, activations.meaning_S)
    found = sum(float(carried_N.sum()) for carried_N in lrds_contribution(activations))
    assert found == pytest.approx(expected, rel=0, abs=1e-12) and abs(expected) > 1e-3


def test_wide_layers_are_told_of_in_parts(activations: Activations, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, regions = list(lrds_contribution(activations)), lf.probe(activations, threshold=0.5)
    monkeypatch.setattr(by_language, "NEURONS_AT_ONCE", 7)
    parts, regions_of_parts = list(lrds_contribution(activations)), lf.probe(activations, threshold=0.5)
    for one_L, other_L in ((whole, parts), (regions.z_L_GN, regions_of_parts.z_L_GN)):
        assert all(torch.allclose(one, other, rtol=1e-12, atol=1e-15) for one, other in zip(one_L, other_L, strict=True))


def test_a_silent_sentence_and_a_silent_neuron_carry_their_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    h_SN = torch.randn(12, 8, generator=generator)
    h_SN[4] = 0
    h_SN[:, 2] = 0
    language_S, meaning_S = torch.arange(3).repeat_interleave(4), torch.arange(4).repeat(3)
    (found_N,) = lrds_contribution(labelled([h_SN], language_S, meaning_S))
    a_SN = h_SN.double() / h_SN.double().norm(dim=1, keepdim=True).clamp_min(1e-30)
    assert float(found_N.sum()) == pytest.approx(lrds(a_SN @ a_SN.T, language_S, meaning_S), rel=0, abs=1e-12)
    assert found_N[2] == 0


def test_how_few_carry_half() -> None:
    assert share_for_half(torch.tensor([1.0, 5, 2, 2])) == 1 / 4
    assert share_for_half(torch.tensor([4.0, 5, 2, 2, -1, 0, 0, 0])) == 2 / 8
    assert share_for_half(torch.tensor([1.0, 1, 1, 1])) == 2 / 4
    assert math.isnan(share_for_half(torch.tensor([1.0, -2])))


def test_sentences_must_be_parallel() -> None:
    with pytest.raises(ValueError, match="the sentences are not parallel"):
        list(lrds_contribution(labelled([torch.ones(4, 2)], torch.tensor([0, 0, 1, 1]))))
