"""The activation vectors of eq. (6), language by language, as every probe by sentences reads them.

Shapes are written as suffixes: S sentences, G languages, R sentences of one language, M meanings, N neurons of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lf_experiments.equations import activation_norm, activation_vectors
from lf_experiments.neurons.activations import Activations

NEURONS_AT_ONCE = 8192
"""Neurons of a layer whose vectors are in memory at once, where each is told of by itself."""


def by_neuron(activations: Activations, told_of: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """Yields, layer by layer, what a function of vectors tells of each neuron by itself: (S, N) in float64 -> (..., N).

    One layer is in memory at a time, and of a wide one, such as that of a mixture of experts, the vectors of a part.
    """
    norm_S = activation_norm(activations.h_L_SN)

    def of_layer(h_SN: Tensor) -> Tensor:
        parts = h_SN.split(NEURONS_AT_ONCE, dim=1)
        return torch.cat([told_of(activation_vectors(part_SN, norm_S)) for part_SN in parts], dim=-1)

    yield from map(of_layer, activations.h_L_SN)


def scored_neurons(
    activations: Activations, scored: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Score and z of every neuron in every language, layer by layer (G, N), where a function gives both of some neurons."""
    both = list(by_neuron(activations, lambda a_SN: torch.stack(scored(a_SN))))
    return [score_GN for score_GN, _ in both], [z_GN for _, z_GN in both]


def rows_by_language(activations: Activations) -> list[Tensor]:
    """Which sentences are of each language, (S,) bool, in the order of the map."""
    return [activations.language_S == language for language in range(len(activations.language_codes))]


def parallel_rows(activations: Activations) -> Tensor:
    """The row of every meaning in every language, (G, M). Raises `ValueError` unless every language has one of each."""
    language_S, meaning_S = activations.language_S, activations.meaning_S
    languages, meanings = len(activations.language_codes), int(meaning_S.max()) + 1
    order_S = (language_S * meanings + meaning_S).argsort()
    place_S = (language_S * meanings + meaning_S)[order_S]
    if not torch.equal(place_S, torch.arange(languages * meanings)):
        raise ValueError("every language needs one sentence of every meaning: the sentences are not parallel")
    return order_S.view(languages, meanings)


def members(group_S: Tensor) -> Tensor:
    """1 where a sentence is of a group, such as a language or a meaning, else 0: (groups, S) in float64."""
    return (group_S == torch.arange(int(group_S.max()) + 1)[:, None]).to(torch.float64)


def averages(group_S: Tensor) -> Tensor:
    """The matrix that takes the sentences to the means of their groups, (groups, S) in float64."""
    member_GS = members(group_S)
    return member_GS / member_GS.sum(dim=1, keepdim=True)


def against_others(value_GN: Tensor) -> Tensor:
    """The value of each language less the mean of the other languages, (G, N) or (G, ..., N)."""
    return (len(value_GN) * value_GN - value_GN.sum(dim=0)) / (len(value_GN) - 1)


def in_deviations(difference_GN: Tensor, deviation_GN: Tensor, largest_N: Tensor) -> Tensor:
    """A difference in units of a deviation, (G, N); 0 for a neuron that does not vary, but for rounding.

    `largest_N` is the largest value of the neuron, which rounding is measured by.
    """
    varies_GN = deviation_GN > torch.finfo(torch.float32).eps * largest_N
    return torch.where(varies_GN, difference_GN / deviation_GN.where(varies_GN, 1), 0)
