"""Whether a region would be found again: the regions of halves of the meanings beside each other.

Shapes are written as suffixes: R splits, G languages, N neurons of a layer. `L_` marks a list over layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

REPLICATED = 0.9
"""The share of the halves that must select a neuron for it to count as replicated."""


@dataclass(frozen=True)
class Replication:
    """How the regions of complementary halves agree, and how often every neuron is selected."""

    frequency_L_GN: list[Tensor]
    """The share of the halves that select a neuron for a language, float32."""
    size_RG: Tensor
    """Mean size of the two regions of a split."""
    both_RG: Tensor
    """Size of their intersection."""
    neurons: int
    """Of the whole model, K."""

    @property
    def replicated_L_GN(self) -> list[Tensor]:
        """The neurons that nearly every half selects, bool."""
        return [frequency_GN >= REPLICATED for frequency_GN in self.frequency_L_GN]

    @property
    def dice_G(self) -> Tensor:
        """Overlap of the halves (Dice): 1 where they select the same neurons, 0 where they share none; the mean over splits."""
        return torch.where(self.size_RG > 0, self.both_RG / self.size_RG.clamp_min(1e-12), 0).mean(dim=0)

    @property
    def stability_G(self) -> Tensor:
        """The overlap less what chance gives (Nogueira, Sechidis and Brown, 2018, with two samples); 0 under no effect."""
        rate_RG = self.size_RG / self.neurons
        variance_RG = (self.size_RG - self.both_RG) / self.neurons  # twice the mean of p (1 - p), p being 0, 1/2 or 1
        chance_RG = rate_RG * (1 - rate_RG)
        return torch.where(chance_RG > 0, 1 - variance_RG / chance_RG.clamp_min(1e-12), 0).mean(dim=0)

    @property
    def precision_G(self) -> tuple[Tensor, Tensor]:
        """The estimated share of true selections by language: in the region of a half, and among neurons both halves select."""
        return precision(self.size_RG.mean(dim=0) / self.neurons, self.both_RG.mean(dim=0) / self.neurons)

    @property
    def precision(self) -> tuple[float, float]:
        """The same over the regions of all languages together."""
        cells = self.neurons * self.size_RG.shape[1]
        of_half, of_both = precision(self.size_RG.sum(dim=1).mean() / cells, self.both_RG.sum(dim=1).mean() / cells)
        return float(of_half), float(of_both)


def precision(half: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """The share of true selections among those of a half and among those of both, from how often each occurs.

    False selections are taken to be independent between halves: at a rate of r in a half and r2 in both they occur at
    (r - r2) / (1 - r), and the rest of what is selected is true. Low power makes the estimate too low, never too high.
    """
    false = (half - both) / (1 - half).clamp_min(1e-12)
    true = (1 - (1 - half) / (1 - false).clamp_min(1e-12)).clamp_min(0)
    of_half, of_both = (torch.where(rate > 0, true / rate.clamp_min(1e-12), 0).clamp_max(1) for rate in (half, both))
    return of_half, of_both


def replication(is_key_L_BGN: Iterable[Tensor]) -> Replication:
    """The agreement of halves, from which neurons each selects (`regrouping.key_neurons_under` of `regrouping.halves`)."""
    frequencies, sizes, both, neurons = [], [], [], 0
    for is_key_BGN in is_key_L_BGN:
        first, second = is_key_BGN[0::2], is_key_BGN[1::2]
        frequencies.append(is_key_BGN.to(torch.float32).mean(dim=0))
        sizes.append((first.sum(dim=2) + second.sum(dim=2)).to(torch.float64) / 2)
        both.append((first & second).sum(dim=2).to(torch.float64))
        neurons += is_key_BGN.shape[2]
    return Replication(frequencies, torch.stack(sizes).sum(dim=0), torch.stack(both).sum(dim=0), neurons)
