"""Cohen's d: neurons whose activation in one language stands out from the other languages, in units of its spread within them.

Shapes are written as suffixes: G languages, R sentences of one language, N neurons of a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.by_language import against_others, in_deviations, rows_by_language, scored_neurons
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "mean"


def cohen_d(activations: Activations, _: ProbeConfig) -> Scores:
    """The mean of a language less the mean of the others (score), and that over the spread within languages (z), signed.

    Of the vectors of eq. (6), as eq. (11); the variance within languages is the mean of theirs, with R - 1 as denominator.
    Unlike the z-score of eq. (12) it knows how much sentences of one language differ, it has no bound, and a neuron can be key
    for several languages. 0 for a neuron that varies within no language.
    """
    is_language_G_S = rows_by_language(activations)

    def scored(a_SN: Tensor) -> tuple[Tensor, Tensor]:
        a_G_RN = [a_SN[is_language_S] for is_language_S in is_language_G_S]
        difference_GN = against_others(torch.stack([a_RN.mean(dim=0) for a_RN in a_G_RN]))
        deviation_N = torch.stack([a_RN.var(dim=0) for a_RN in a_G_RN]).mean(dim=0).sqrt()
        return difference_GN, in_deviations(difference_GN, deviation_N, a_SN.abs().amax(dim=0))

    return Scores(*scored_neurons(activations, scored))


def of_moments(sum_BGN: Tensor, square_BGN: Tensor, count_BG1: Tensor) -> Tensor:
    """d from the sums and the sums of squares over the sentences of every language, in their format."""
    mean_BGN = sum_BGN / count_BG1
    variance_BGN = (square_BGN - sum_BGN * mean_BGN).clamp_min(0) / (count_BG1 - 1)
    others_BGN = (mean_BGN.sum(dim=1, keepdim=True) - mean_BGN) / (mean_BGN.shape[1] - 1)
    largest_B1N = square_BGN.amax(dim=1, keepdim=True).sqrt()
    return in_deviations(mean_BGN - others_BGN, variance_BGN.mean(dim=1, keepdim=True).sqrt(), largest_B1N)
