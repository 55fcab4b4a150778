"""Alignment: how far translations agree beyond what anisotropy and collapse give, as a correlation.

Shapes are written as suffixes: G languages, R sentences of one language, one per meaning.
"""

import torch
from torch import Tensor

from lf_experiments.measures.blocks import other_meanings, translations


def alignment(blocks_GRGR: Tensor) -> Tensor:
    """The correlation of the sentences of two languages across meanings, (G, G): SADS over the spread within both languages.

    1 where translations have the same vectors but for a constant, 0 where meanings do not matter, also for a language whose
    sentences are all alike.
    """
    same_GG, different_GG = translations(blocks_GRGR), other_meanings(blocks_GRGR)
    spread_G = (same_GG - different_GG).diagonal().clamp_min(0).sqrt()
    scale_GG = spread_G[:, None] * spread_G[None, :]
    return torch.where(scale_GG > 0, (same_GG - different_GG) / scale_GG.where(scale_GG > 0, 1), 0)
