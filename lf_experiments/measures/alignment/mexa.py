"""MEXA: how often a translation is the nearest of all sentences (Kargaran et al., 2024, arXiv 2410.05873), on neurons.

Shapes are written as suffixes: G languages, R sentences of one language, one per meaning.
"""

import torch
from torch import Tensor


def mexa(blocks_GRGR: Tensor) -> Tensor:
    """The share of meanings whose two sentences are more alike than either is to any other of the two languages, (G, G).

    A tie is a miss. Guessing gives 1 / (2 R - 1): do not compare runs with different numbers of sentences. Language pairs are
    all pairs, not only those with English.
    """
    similarity_GGRR = blocks_GRGR.permute(0, 2, 1, 3)
    translated_GGR = similarity_GGRR.diagonal(dim1=2, dim2=3)
    is_translation_RR = torch.eye(blocks_GRGR.shape[1], dtype=torch.bool)
    others_GGRR = similarity_GGRR.masked_fill(is_translation_RR, -torch.inf)
    nearest_GGR = torch.maximum(others_GGRR.amax(dim=3), others_GGRR.amax(dim=2))
    return (translated_GGR > nearest_GGR).to(torch.float64).mean(dim=2)
