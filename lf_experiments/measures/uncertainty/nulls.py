"""What the scores would be if the labels meant nothing: shuffled languages or meanings, and the share that noise makes key.

Shapes are written as suffixes: S sentences, G languages, n meanings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor


@dataclass(frozen=True)
class Null:
    """The values of a score under shuffled labels."""

    values: Tensor
    """One per permutation, float64."""

    @property
    def mean(self) -> float:
        """What the score is without the thing it measures."""
        return float(self.values.mean())

    def p_value(self, value: float) -> float:
        """The share of permutations, the observed labels among them, that reach a value; never 0."""
        return (1 + int((self.values >= value).sum())) / (1 + len(self.values))

    def interval(self, level: float) -> tuple[float, float]:
        """The middle part of the values."""
        tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=self.values.dtype)
        low, high = self.values.quantile(tails).tolist()
        return low, high


def lrds_null(similarity_SS: Tensor, languages: int, permutations: int, seed: int) -> Null:
    """LRDS (eq. 8) with the languages shuffled within every meaning. Translations stay together; the mean is 0."""
    shuffle = torch.Generator().manual_seed(seed)
    n = len(similarity_SS) // languages
    total = similarity_SS.sum(dtype=torch.float64)
    by_meaning = sum_within(similarity_SS, torch.arange(len(similarity_SS)).view(languages, n).T)
    values = []
    for _ in range(permutations):
        language_nG = torch.stack([torch.randperm(languages, generator=shuffle) for _ in range(n)])
        row_Gn = (language_nG * n + torch.arange(n)[:, None]).T
        within = sum_within(similarity_SS, row_Gn) - similarity_SS.diagonal().sum(dtype=torch.float64)
        across = total - by_meaning - within
        values.append(within / (languages * n * (n - 1)) - across / (languages * (languages - 1) * n * (n - 1)))
    return Null(torch.stack(values))


def sads_null(similarity_SS: Tensor, languages: int, permutations: int, seed: int) -> Null:
    """SADS (eq. 9) with the meanings shuffled within every language. The mean is 0."""
    shuffle = torch.Generator().manual_seed(seed)
    n = len(similarity_SS) // languages
    total = similarity_SS.sum(dtype=torch.float64)
    by_language = sum_within(similarity_SS, torch.arange(len(similarity_SS)).view(languages, n))
    values = []
    for _ in range(permutations):
        meaning_Gn = torch.stack([torch.randperm(n, generator=shuffle) for _ in range(languages)])
        row_nG = (meaning_Gn + n * torch.arange(languages)[:, None]).T
        aligned = sum_within(similarity_SS, row_nG) - similarity_SS.diagonal().sum(dtype=torch.float64)
        unaligned = total - by_language - aligned
        pairs = languages * (languages - 1) * n
        values.append(aligned / pairs - unaligned / (pairs * (n - 1)))
    return Null(torch.stack(values))


def sum_within(similarity_SS: Tensor, row_QR: Tensor) -> Tensor:
    """The sum of similarities of all pairs, self-pairs included, within each of the groups of rows (Q groups of R rows)."""
    return similarity_SS[row_QR[:, :, None], row_QR[:, None, :]].sum(dtype=torch.float64)


def noise_floor(languages: int, threshold: float) -> float:
    """SKLR that Gaussian noise alone gives, as a share of all neurons, by the distribution of z over so many languages.

    It is 14.9 % for nine languages and a threshold of 2. Neurons whose mean is near 0 exceed it.
    """
    if threshold >= math.sqrt(languages - 1):
        return 0.0
    external = threshold * math.sqrt(languages - 2) / math.sqrt(languages - 1 - threshold**2)
    return languages * float(stats.t.sf(external, languages - 2))
