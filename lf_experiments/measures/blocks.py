"""Language blocks: a similarity map cut into one square per pair of languages, and the means that measures are made of.

Shapes are written as suffixes: S sentences, G languages, R sentences of one language, one per meaning.
"""

from __future__ import annotations

import torch
from torch import Tensor


def language_blocks(similarity_SS: Tensor, language_S: Tensor, meaning_S: Tensor) -> Tensor:
    """The map as (G, R, G, R): language, meaning, language, meaning. The sentences may stand in any order.

    Raises `ValueError` unless every language has one sentence of every meaning.
    """
    languages, meanings = int(language_S.max()) + 1, int(meaning_S.max()) + 1
    place_S = language_S * meanings + meaning_S
    if not torch.equal(place_S.sort().values, torch.arange(languages * meanings)):
        raise ValueError("every language needs one sentence of every meaning: the sentences are not parallel")
    order_S = place_S.argsort()
    if not torch.equal(order_S, torch.arange(len(order_S))):
        similarity_SS = similarity_SS[order_S][:, order_S]
    return similarity_SS.view(languages, meanings, languages, meanings)


def translations(blocks_GRGR: Tensor) -> Tensor:
    """The mean similarity of sentences of the same meaning, for every pair of languages, (G, G)."""
    return torch.einsum("grhr->gh", blocks_GRGR) / blocks_GRGR.shape[1]


def other_meanings(blocks_GRGR: Tensor) -> Tensor:
    """The mean similarity of sentences of different meanings, for every pair of languages, (G, G).

    On the diagonal are the pairs within one language.
    """
    meanings = blocks_GRGR.shape[1]
    different_GG = blocks_GRGR.sum(dim=(1, 3)) - torch.einsum("grhr->gh", blocks_GRGR)
    return different_GG / (meanings * (meanings - 1))


def over_pairs(value_GG: Tensor) -> float:
    """The mean of a symmetric measure over all pairs of different languages."""
    languages = len(value_GG)
    return float((value_GG.sum() - value_GG.diagonal().sum()) / (languages * (languages - 1)))
