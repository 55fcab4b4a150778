"""Neurons planted in noise of many means and scales: which methods find them, ranked over all languages and neurons."""

from __future__ import annotations

import pytest
import torch
from recorded import labelled
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import probe, scored
from lf_experiments.neurons.activations import Activations

LANGUAGES, MEANINGS, NEURONS = 9, 100, 540
LANGUAGE_S, MEANING_S = torch.arange(LANGUAGES).repeat_interleave(MEANINGS), torch.arange(MEANINGS).repeat(LANGUAGES)


def planted(effect: float, together: int) -> tuple[Activations, Tensor]:
    """A tenth of the neurons is more active, by so many deviations, in so many languages; and which, (G, N) bool.

    Neurons have means of 0, 1 and 5 deviations, and deviations that differ by factors.
    """
    generator = torch.Generator().manual_seed(4)
    truth_GN = torch.zeros(LANGUAGES, NEURONS, dtype=torch.bool)
    for neuron in range(NEURONS // 10):
        truth_GN[torch.randperm(LANGUAGES, generator=generator)[:together], neuron] = True
    order_N = torch.randperm(NEURONS, generator=generator)
    truth_GN = truth_GN[:, order_N]
    mean_N = torch.tensor([0.0, 1.0, 5.0]).repeat(NEURONS // 3)
    scale_N = torch.randn(NEURONS, generator=generator).exp()
    noise_SN = torch.randn(len(LANGUAGE_S), NEURONS, generator=generator)
    return labelled([scale_N * (mean_N + noise_SN + effect * truth_GN[LANGUAGE_S])], LANGUAGE_S, MEANING_S), truth_GN


def average_precision(score_GN: Tensor, truth_GN: Tensor) -> float:
    """Down the ranking of all languages and neurons, the mean precision where a planted one is met."""
    is_planted = truth_GN.flatten()[score_GN.flatten().argsort(descending=True)].double()
    precision = is_planted.cumsum(0) / torch.arange(1, len(is_planted) + 1)
    return float((precision * is_planted).sum() / is_planted.sum())


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("cohen_d", 0.85, 1), ("paired_d", 0.85, 1), ("auroc", 0.85, 1), ("average_precision", 0.5, 0.85), ("zscore", 0.35, 0.55)],
)
def test_how_well_each_method_ranks_a_small_effect(name: str, least: float, most: float) -> None:
    """0.4 deviations. The z-score does not know how much sentences differ, and is well behind."""
    activations, truth_GN = planted(0.4, together=1)
    scores = scored(activations, ProbeConfig(name))
    assert least < average_precision(scores.z_L_GN[0], truth_GN) <= most


def test_neurons_of_two_languages_are_found_by_their_overlap_and_not_by_the_z_score() -> None:
    activations, truth_GN = planted(1.0, together=2)
    found_GN = probe(activations, ProbeConfig("overlap", 0.5)).is_key_L_GN[0]
    assert (found_GN & truth_GN).sum() / truth_GN.sum() > 0.9 and (found_GN & truth_GN).sum() / found_GN.sum() > 0.9
    z_found_GN = probe(activations, ProbeConfig("zscore", 2.0)).is_key_L_GN[0]
    assert not (z_found_GN & truth_GN).sum(dim=0).eq(2).any()


@pytest.mark.parametrize("name", ["lape", "lape_lambda"])
def test_neurons_that_are_active_in_one_language_are_found_by_their_rates(name: str) -> None:
    """Planted neurons are active at 60 % of the tokens of a language and 5 % of others; the rest at 1 to 50 % everywhere."""
    generator = torch.Generator().manual_seed(1)
    usual_N = 0.01 + 0.49 * torch.rand(NEURONS, generator=generator)
    rate_SN = usual_N.expand(len(LANGUAGE_S), -1).clone()
    for neuron in range(36):
        rate_SN[:, neuron] = torch.where(neuron % LANGUAGES == LANGUAGE_S, 0.6, 0.05)
    active_SN = torch.distributions.Binomial(50, rate_SN)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        rate_SN = active_SN.sample() / 50
    activations = labelled([rate_SN], LANGUAGE_S)
    activations = Activations(
        activations.h_L_SN, activations.languages, activations.meanings, torch.full_like(LANGUAGE_S, 50), 1, "gate_rate"
    )
    is_key_GN = probe(activations, ProbeConfig(name, 1 - 36 / NEURONS)).is_key_L_GN[0]
    assert sorted(map(tuple, is_key_GN.nonzero().tolist())) == sorted((neuron % LANGUAGES, neuron) for neuron in range(36))
