"""Key neurons found again and again under other groupings of the same sentences: shuffled languages, halves of the meanings.

A probe by moments needs only sums over the sentences of a grouping, so that many groupings cost two matrix products a layer:
100 groupings of 900 sentences in nine languages are 4 * 900 * 900 operations for every neuron.

Shapes are written as suffixes: B groupings, S sentences, G languages, N neurons of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lf_experiments.equations import activation_norm, activation_vectors
from lf_experiments.measures.by_language import NEURONS_AT_ONCE
from lf_experiments.measures.probe import Statistic

SUM_BYTES = 1 << 28
"""What the sums of a chunk of groupings may take: 256 MiB."""


def key_neurons_under(
    h_L_SN: Sequence[Tensor], language_BS: Tensor, languages: int, statistic: Statistic, threshold: float
) -> Iterator[Tensor]:
    """Yields, layer by layer, which neurons are key for which language under every grouping: (B, G, N), bool.

    `language_BS` numbers the language of each sentence in each grouping, -1 where the sentence is left out. The vectors are
    those of eq. (6), in float32: counts need no more.
    """
    norm_S = activation_norm(h_L_SN)
    member_BGS = (language_BS[:, None, :] == torch.arange(languages)[:, None]).to(torch.float32)
    count_BG1 = member_BGS.sum(dim=2, keepdim=True)

    def of_neurons(h_SN: Tensor) -> Tensor:
        a_SN = activation_vectors(h_SN, norm_S).to(torch.float32)
        square_SN = a_SN.square()
        chunk = max(1, SUM_BYTES // (8 * languages * a_SN.shape[1]))
        chunks = zip(member_BGS.split(chunk), count_BG1.split(chunk), strict=True)
        return torch.cat([statistic(part @ a_SN, part @ square_SN, count) > threshold for part, count in chunks])

    def of_layer(h_SN: Tensor) -> Tensor:
        return torch.cat([of_neurons(part_SN) for part_SN in h_SN.split(NEURONS_AT_ONCE, dim=1)], dim=2)

    yield from map(of_layer, h_L_SN)


def shuffled_languages(languages: int, meanings: int, permutations: int, seed: int) -> Tensor:
    """Groupings with the languages shuffled within every meaning, (B, S); sentences are language by language."""
    shuffle = torch.Generator().manual_seed(seed)
    keys_BGn = torch.rand(permutations, languages, meanings, generator=shuffle)
    return keys_BGn.argsort(dim=1).flatten(1)


def part(languages: int, meanings: int, share: float, seed: int) -> Tensor:
    """A grouping of a random share of the meanings, the same in every language, (S,); -1 for the others.

    With the same seed the half of them is the first half of the first split of `halves`.
    """
    order_M = torch.randperm(meanings, generator=torch.Generator().manual_seed(seed))
    language_GM = torch.full((languages, meanings), -1)
    language_GM[:, order_M[: round(share * meanings)]] = torch.arange(languages)[:, None]
    return language_GM.flatten()


def halves(languages: int, meanings: int, splits: int, seed: int) -> Tensor:
    """Groupings of two complementary random halves of the meanings, the same in every language: (2 * splits, S).

    Rows 2r and 2r + 1 are the halves of split r. Of an odd number of meanings one is left out of both.
    """
    shuffle = torch.Generator().manual_seed(seed)
    language_GM = torch.arange(languages)[:, None].expand(languages, meanings)
    rows, half = [], meanings // 2
    for _ in range(splits):
        order_M = torch.randperm(meanings, generator=shuffle)
        for kept in (order_M[:half], order_M[half : 2 * half]):
            row_GM = torch.full_like(language_GM, -1)
            row_GM[:, kept] = language_GM[:, kept]
            rows.append(row_GM.flatten())
    return torch.stack(rows) if rows else torch.empty(0, languages * meanings, dtype=torch.int64)
