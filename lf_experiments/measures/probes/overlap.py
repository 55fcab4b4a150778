"""Overlap: neurons that part the languages in two groups, so that a region can be shared by several languages.

The idea is that of distribution-aware language neurons (DLN, EMNLP 2026): a neuron matters for a group of languages where the
distributions of its values there and in the other languages overlap least. Here distributions are normal ones over sentences,
so that the overlap follows from means and variances.

Shapes are written as suffixes: G languages, R sentences of one language, N neurons of a layer.
"""

from __future__ import annotations

import torch
from scipy.special import ndtr
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.by_language import in_deviations, rows_by_language, scored_neurons
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "mean"


def overlap(activations: Activations, _: ProbeConfig) -> Scores:
    """The share of two distributions that does not overlap (score) and their distance in deviations (z), (G, N).

    The distance of two languages is |m - m'| / s, with s^2 the mean of their variances; for equal variances their overlap is
    2 Phi(-distance / 2). The languages are parted in two so that the nearest two of different groups are as far apart as they
    can be: that distance is z, for the languages of the group with the larger mean where it has at most half of all; -inf for
    others.
    """
    is_language_G_S = rows_by_language(activations)

    def scored(a_SN: Tensor) -> tuple[Tensor, Tensor]:
        a_G_RN = [a_SN[is_language_S] for is_language_S in is_language_G_S]
        mean_GN = torch.stack([a_RN.mean(dim=0) for a_RN in a_G_RN])
        variance_GN = torch.stack([a_RN.var(dim=0) for a_RN in a_G_RN])
        apart_N, first_GN = parted(distances(mean_GN, variance_GN, a_SN.abs().amax(dim=0)))
        z_GN = torch.where(few_and_high(first_GN, mean_GN), apart_N, -torch.inf)
        return (1 - 2 * torch.from_numpy(ndtr(-apart_N.numpy() / 2))).expand_as(z_GN), z_GN

    return Scores(*scored_neurons(activations, scored))


def distances(mean_GN: Tensor, variance_GN: Tensor, largest_N: Tensor) -> Tensor:
    """The distance of every two languages in deviations, (G, G, N); 0 where a neuron varies in neither."""
    difference_GGN = (mean_GN[:, None] - mean_GN[None]).abs()
    return in_deviations(difference_GGN, ((variance_GN[:, None] + variance_GN[None]) / 2).sqrt(), largest_N)


def parted(distance_GGN: Tensor) -> tuple[Tensor, Tensor]:
    """The best parting of the languages in two groups: how far these are apart, (N,), and which are in the first, (G, N) bool.

    A tree is grown from the first language, always by the language that is nearest to it (Prim, 1957); the groups are the tree
    before its longest step and the rest. No parting has its nearest two further apart: each is crossed by some step.
    """
    languages, _, neurons = distance_GGN.shape
    column_N = torch.arange(neurons)
    nearest_GN = distance_GGN[0].clone()
    in_tree_GN = torch.zeros(languages, neurons, dtype=torch.bool)
    in_tree_GN[0] = True
    apart_N, first_GN = torch.full((neurons,), -1.0, dtype=distance_GGN.dtype), in_tree_GN.clone()
    for _ in range(languages - 1):
        step_N, language_N = nearest_GN.masked_fill(in_tree_GN, torch.inf).min(dim=0)
        is_longest_N = step_N > apart_N
        apart_N, first_GN = torch.where(is_longest_N, step_N, apart_N), torch.where(is_longest_N, in_tree_GN, first_GN)
        in_tree_GN[language_N, column_N] = True
        nearest_GN = torch.minimum(nearest_GN, distance_GGN[language_N, :, column_N].T)
    return apart_N, first_GN


def few_and_high(first_GN: Tensor, mean_GN: Tensor) -> Tensor:
    """The languages of the group with the larger mean, (G, N) bool; none where that is more than half of the languages."""
    size_N = first_GN.sum(dim=0)
    first_N = (mean_GN * first_GN).sum(dim=0) / size_N
    second_N = (mean_GN * ~first_GN).sum(dim=0) / (len(first_GN) - size_N)
    high_GN = torch.where(first_N > second_N, first_GN, ~first_GN)
    return high_GN & (2 * high_GN.sum(dim=0) <= len(first_GN))


def most_languages(_: ProbeConfig, languages: int) -> int:
    """For how many of G languages a neuron can be key."""
    return languages // 2
