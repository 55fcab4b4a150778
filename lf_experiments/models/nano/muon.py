"""Muon: steps that are as long in every direction of a weight matrix (Jordan et al. 2024), for many small matrices at once.

`torch.optim.Muon` computes in bfloat16, which processors without units for it do 60 times slower, and matrix by matrix.

Letters: M matrices of one shape, B blocks in all of them, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x, x^3 and x^5 in the polynomial that drives singular values towards one."""
ITERATIONS = 5
MOMENTUM = 0.95


class Muon(Optimizer):
    """Steps along the momentum, made nearly orthogonal.

    A group has matrices of one shape under `params`. Under `blocks` it says of how many matrices, one below the other, each is
    made: they are made orthogonal apart. BLOOM keeps queries, keys and values of all heads in one matrix; in the whole of it
    the large gradients of the values would leave next to nothing for queries and keys, and attention would not be learnt.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "blocks": 1})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One step of every matrix, which must have a gradient."""
        for group in self.param_groups:
            matrices: list[Parameter] = group["params"]
            gradient_MRC = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
            if "momentum" not in group:
                group["momentum"] = torch.zeros_like(gradient_MRC)
            momentum_MRC = group["momentum"].mul_(MOMENTUM).add_(gradient_MRC)
            direction_MRC = gradient_MRC.add_(momentum_MRC, alpha=MOMENTUM)
            count, rows, columns = direction_MRC.shape
            direction_BRC = direction_MRC.view(count * group["blocks"], rows // group["blocks"], columns)
            stretch = max(1.0, direction_BRC.shape[1] / columns) ** 0.5
            for matrix, step_RC in zip(matrices, orthogonal(direction_BRC).view_as(direction_MRC), strict=True):
                matrix.sub_(step_RC, alpha=group["lr"] * stretch)


def orthogonal(matrix_BRC: Tensor) -> Tensor:
    """Matrices with the same singular vectors, and singular values between 0.7 and 1.2 unless they were next to nothing."""
    linear, cubic, quintic = COEFFICIENTS
    is_tall = matrix_BRC.shape[1] > matrix_BRC.shape[2]
    found = matrix_BRC.mT if is_tall else matrix_BRC
    found = found / (torch.linalg.matrix_norm(found, keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(square, square, square, beta=cubic, alpha=quintic), found, beta=linear)
    return found.mT if is_tall else found
