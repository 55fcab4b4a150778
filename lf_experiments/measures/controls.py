"""Random neurons to compare a region with: as many, none of them in the region, and as alike as is asked for.

A region of strong neurons costs more than random ones even if it has nothing to do with its language. The impact of a neuron is
its mean magnitude times the norm of its column of the second MLP matrix: how much it adds to the residual stream.

Shapes are written as suffixes: N neurons of a layer. `L_` marks a list over layers, which may differ in width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lf_experiments.neurons.activations import Activations

TRIES = 10
"""Draws of a control in a layer until it matches."""
BINS = 20
"""Quantiles of the impact of a region's neurons in a layer, each matched by itself."""


ENOUGH = 20
"""Neurons of a region in a layer from which on its control is checked there."""
LARGEST_DIFFERENCE = 0.1
"""A control is like its region where the means of their log impacts differ by less, in standard deviations of the region."""


@dataclass(frozen=True)
class Control:
    """Random neurons that stand beside a region."""

    where_L_N: list[Tensor]
    """bool."""
    shortfall: int
    """How many neurons are missing: a layer with a region of more than half of it has too few others."""

    @property
    def size(self) -> int:
        """How many neurons there are."""
        return sum(int(where_N.sum()) for where_N in self.where_L_N)


def impact(magnitude: Activations, norm_L_N: list[Tensor]) -> list[Tensor]:
    """How much every neuron adds to the residual stream, layer by layer (N,): its mean |h| over all tokens times its norm.

    `magnitude` are the activations of the pool `magnitude`; the norms are those of the columns of the second MLP matrices.
    Raises `ValueError` for activations of another pool.
    """
    if magnitude.pool != "magnitude":
        raise ValueError(f"the impact of neurons is measured on the pool magnitude, not on {magnitude.pool}")
    share_S = magnitude.tokens_S / magnitude.tokens_S.sum()
    return [share_S @ h_SN * norm_N for h_SN, norm_N in zip(magnitude.h_L_SN, norm_L_N, strict=True)]


def control(match: str, region_L_N: list[Tensor], impact_L_N: list[Tensor], seed: int) -> Control:
    """As many random neurons as a region has, drawn as `match` says (a key of `MATCHES`); equal for equal seeds.

    `impact_L_N` may be empty where the match does not ask for it.
    """
    random = torch.Generator().manual_seed(seed)
    where_L_N = MATCHES[match](region_L_N, impact_L_N, random)
    wanted = sum(int(region_N.sum()) for region_N in region_L_N)
    return Control(where_L_N, wanted - sum(int(where_N.sum()) for where_N in where_L_N))


def uniform(region_L_N: list[Tensor], _: list[Tensor], random: torch.Generator) -> list[Tensor]:
    """From the neurons of all layers that are not in the region."""
    region_K = torch.cat(region_L_N)
    chosen_K = chosen_of(~region_K, int(region_K.sum()), random)
    return list(chosen_K.split([len(region_N) for region_N in region_L_N]))


def same_layers(region_L_N: list[Tensor], _: list[Tensor], random: torch.Generator) -> list[Tensor]:
    """In every layer as many as the region has there."""
    return [chosen_of(~region_N, int(region_N.sum()), random) for region_N in region_L_N]


def same_impact(region_L_N: list[Tensor], impact_L_N: list[Tensor], random: torch.Generator) -> list[Tensor]:
    """In every layer, and there in every quantile of impact, as many as the region has."""
    return [drawn_again(region_N, impact_N, random) for region_N, impact_N in zip(region_L_N, impact_L_N, strict=True)]


MATCHES: dict[str, Callable[[list[Tensor], list[Tensor], torch.Generator], list[Tensor]]] = {
    "uniform": uniform,
    "layer": same_layers,
    "impact": same_impact,
}
"""What a control shares with its region beside the number of neurons, by the value of `control.match`."""


def drawn_again(region_N: Tensor, impact_N: Tensor, random: torch.Generator) -> Tensor:
    """Neurons that match a region of a layer, drawn until they do, or the best of `TRIES` draws (Morgan and Rubin, 2012)."""
    log_N = impact_N.double().clamp_min(1e-30).log()
    best_N = matched_in_layer(region_N, log_N, random)
    if region_N.sum() < ENOUGH or not best_N.any():
        return best_N

    def difference(drawn_N: Tensor) -> float:
        return abs(mean_difference(drawn_N, region_N, impact_N))

    for _ in range(TRIES - 1):
        if difference(best_N) < LARGEST_DIFFERENCE:
            break
        best_N = min(best_N, matched_in_layer(region_N, log_N, random), key=difference)
    return best_N


def matched_in_layer(region_N: Tensor, impact_N: Tensor, random: torch.Generator) -> Tensor:
    """Neurons outside a region, bin by bin of its impacts; what a bin lacks is taken from the nearest impacts there are."""
    chosen_N = torch.zeros_like(region_N)
    inside = impact_N[region_N]
    if not len(inside):
        return chosen_N
    edges = inside.quantile(torch.linspace(0, 1, min(BINS, len(inside)) + 1, dtype=inside.dtype)[1:-1])
    bin_N = torch.bucketize(impact_N, edges)
    for number in range(len(edges) + 1):
        of_bin_N = bin_N == number
        wanted = int((of_bin_N & region_N).sum())
        free_N = of_bin_N & ~region_N & within_range(impact_N, inside)
        drawn_N = chosen_of(free_N & ~chosen_N, wanted, random)
        chosen_N |= drawn_N
        missing = wanted - int(drawn_N.sum())  # what another bin has taken from this one is not this one's
        if missing:
            chosen_N |= nearest(impact_N, ~region_N & ~chosen_N, impact_N[of_bin_N & region_N].mean(), missing)
    return chosen_N


def within_range(impact_N: Tensor, inside: Tensor) -> Tensor:
    """Whether an impact lies between the smallest and the largest of a region: the outer bins have no end of their own."""
    return (impact_N >= inside.min()) & (impact_N <= inside.max())


def nearest(impact_N: Tensor, free_N: Tensor, target: Tensor, count: int) -> Tensor:
    """The `count` free neurons whose impact is nearest to a target, as a mask; fewer where there are not so many."""
    distance_N = torch.where(free_N, (impact_N - target).abs(), torch.inf)
    order = distance_N.argsort()[: min(max(count, 0), int(free_N.sum()))]
    return torch.zeros_like(free_N).index_fill_(0, order, True)


def chosen_of(free_N: Tensor, count: int, random: torch.Generator) -> Tensor:
    """At most `count` of the free neurons, at random, as a mask."""
    free = free_N.nonzero()[:, 0]
    drawn = free[torch.randperm(len(free), generator=random)[:count]]
    return torch.zeros_like(free_N).index_fill_(0, drawn, True)


def mean_difference(control_N: Tensor, region_N: Tensor, impact_N: Tensor) -> float:
    """How far the log impacts of a control lie from those of its region, in standard deviations of the latter."""
    log_N = impact_N.double().clamp_min(1e-30).log()
    spread = float(log_N[region_N].std())
    return float(log_N[control_N].mean() - log_N[region_N].mean()) / spread if spread else 0.0


def worst_difference(control_L_N: list[Tensor], region_L_N: list[Tensor], impact_L_N: list[Tensor]) -> float:
    """The largest `mean_difference` of any layer in which the region has `ENOUGH` neurons, without its sign."""
    layers = zip(control_L_N, region_L_N, impact_L_N, strict=True)
    differences = [abs(mean_difference(*layer)) for layer in layers if layer[1].sum() >= ENOUGH and layer[0].any()]
    return max(differences, default=0.0)
