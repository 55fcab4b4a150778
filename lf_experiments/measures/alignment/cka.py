"""CKA: whether two languages arrange the meanings alike, whatever sets the languages apart (Kornblith et al., 2019), debiased.

Shapes are written as suffixes: G languages, R sentences of one language, one per meaning.
"""

import torch
from torch import Tensor

FEWEST = 4
"""Meanings that the estimate without bias needs."""


def cka(blocks_GRGR: Tensor) -> Tensor:
    """The centred kernel alignment of the similarities within two languages, (G, G): 1 where meanings lie alike, 0 by chance.

    With the estimate of Song et al. (2012), that has no bias: the usual one is far above 0 for unrelated languages where there
    are fewer meanings than neurons. 0 for a language whose sentences are all alike.
    """
    kernel_GRR = centred(torch.einsum("grgs->grs", blocks_GRGR))
    product_GG = torch.einsum("grs,hrs->gh", kernel_GRR, kernel_GRR)
    size_G = product_GG.diagonal().clamp_min(0).sqrt()
    scale_GG = size_G[:, None] * size_G[None, :]
    varies_GG = scale_GG > torch.finfo(torch.float32).eps * blocks_GRGR.abs().max()
    return torch.where(varies_GG, product_GG / scale_GG.where(varies_GG, 1), 0)


def centred(kernel_GRR: Tensor) -> Tensor:
    """Kernels centred so that the sum of products of two is, but for a factor, the estimate of HSIC without bias.

    The diagonal is 0, and so is the sum of every row (Szekely and Rizzo, 2014).
    """
    n = kernel_GRR.shape[1]
    is_self_RR = torch.eye(n, dtype=torch.bool)
    kernel_GRR = kernel_GRR.masked_fill(is_self_RR, 0)
    row_GR1 = kernel_GRR.sum(dim=2, keepdim=True) / (n - 2)
    total_G11 = kernel_GRR.sum(dim=(1, 2), keepdim=True) / ((n - 1) * (n - 2))
    return (kernel_GRR - row_GR1 - row_GR1.transpose(1, 2) + total_G11).masked_fill(is_self_RR, 0)
