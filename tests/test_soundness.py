"""Activations whose scores would be right and say nothing are told in words; sound ones are not."""

import pytest
import torch
from recorded import labelled

from lf_experiments.measures.similarity import compare
from lf_experiments.measures.soundness import warnings_of
from lf_experiments.neurons.activations import Activations

LANGUAGE_S, MEANING_S = torch.arange(3).repeat_interleave(2), torch.arange(2).repeat(3)


@pytest.fixture
def h_L_SN() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, width, generator=generator) for width in (4, 7)]


def warned(h_L_SN: list[torch.Tensor]) -> list[str]:
    return warnings_of(labelled(h_L_SN, LANGUAGE_S, MEANING_S))


def test_nothing_is_said_of_sound_activations(h_L_SN: list[torch.Tensor]) -> None:
    assert warned(h_L_SN) == []


def test_silence_everywhere_is_said_once(h_L_SN: list[torch.Tensor]) -> None:
    silent = [torch.zeros_like(h_SN) for h_SN in h_L_SN]
    comparison = compare(labelled(silent, LANGUAGE_S, MEANING_S))
    assert comparison.whole["lrds"] == comparison.whole["sads"] == 0, "a number that reads as a finding"
    assert warned(silent) == ["no neuron is active on any sentence: scores of 0 say nothing about languages"]


@pytest.mark.parametrize("noise", [0, 1e-7])
def test_the_same_everywhere_is_said(h_L_SN: list[torch.Tensor], noise: float) -> None:
    constant = [h_SN[:1] + noise * torch.randn_like(h_SN) for h_SN in h_L_SN]
    assert warned(constant) == ["the neurons do the same on every sentence: scores of 0 say nothing about languages"]


def test_one_layer_that_varies_is_enough(h_L_SN: list[torch.Tensor]) -> None:
    assert warned([h_L_SN[0][:1].expand(6, -1), h_L_SN[1]]) == []


def test_silent_sentences_are_counted_and_the_first_is_named(h_L_SN: list[torch.Tensor]) -> None:
    for h_SN in h_L_SN:
        h_SN[[3, 4]] = 0
    assert warned(h_L_SN) == ["2 of 6 sentences activate no neuron (the first: meaning '1' in language 1)"]


def test_a_sentence_that_is_silent_in_one_layer_is_sound(h_L_SN: list[torch.Tensor]) -> None:
    h_L_SN[0][3] = 0
    assert warned(h_L_SN) == []


def test_a_dead_layer_is_named(h_L_SN: list[torch.Tensor]) -> None:
    assert warned([h_L_SN[0], torch.zeros(6, 3)]) == ["no neuron of the layers [1] is active on any sentence"]


def test_labels_number_what_they_say_in_the_order_of_the_map() -> None:
    activations = Activations([torch.zeros(4, 2)], ["fr", "fr", "en", "en"], ["b", "a", "b", "a"], torch.ones(4), 7)
    assert activations.language_codes == ["fr", "en"]
    assert activations.language_S.tolist() == [0, 0, 1, 1] and activations.meaning_S.tolist() == [0, 1, 0, 1]
    assert activations.pool == "mean"


def test_labels_of_another_number_of_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of \[3, 4\] sentences do not belong together"):
        Activations([torch.zeros(4, 2)], ["fr"] * 4, ["a"] * 3, torch.ones(4), 7)
