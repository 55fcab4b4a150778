"""Selection: which neurons are key, from how much each belongs to each language; every method is selected from in the same way.

Shapes are written as suffixes: G languages, N neurons of a layer, K of all layers. `L_` marks a list over layers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def above(z_L_GN: list[Tensor], threshold: float) -> list[Tensor]:
    """The neurons whose z exceeds a threshold, bool."""
    return [z_GN > threshold for z_GN in z_L_GN]


def highest(z_L_GN: list[Tensor], size_G: Tensor) -> list[Tensor]:
    """For every language as many neurons as asked for, those with the highest z of the whole model, bool.

    Neurons of equal z are taken in the order of the layers. None is taken whose z is -inf: then a region is smaller.
    """
    z_GK = torch.cat(z_L_GN, dim=1)
    is_key_GK = torch.zeros_like(z_GK, dtype=torch.bool)
    for z_K, is_key_K, size in zip(z_GK, is_key_GK, size_G.tolist(), strict=True):
        is_key_K[z_K.argsort(descending=True, stable=True)[:size]] = True
    is_key_GK &= z_GK > -torch.inf
    return list(is_key_GK.split([z_GN.shape[1] for z_GN in z_L_GN], dim=1))
