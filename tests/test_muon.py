"""Muon against singular values taken one by one, and against that of torch."""

import pytest
import torch
from torch import nn

from lf_experiments.models.nano.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonal


def by_singular_values(matrix: torch.Tensor) -> torch.Tensor:
    """The same singular vectors; every singular value through the polynomial, one number at a time."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    a, b, c = COEFFICIENTS
    length, found = float(values.square().sum().sqrt()), []
    for value in values.tolist():
        x = value / length
        for _ in range(ITERATIONS):
            x = a * x + b * x**3 + c * x**5
        found.append(x)
    return left @ torch.diag(torch.tensor(found, dtype=torch.float64)) @ right


@pytest.mark.parametrize("shape", [(16, 16), (12, 5), (5, 12)])
def test_directions_keep_their_singular_vectors(shape: tuple[int, int]) -> None:
    matrix_BRC = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found_BRC = orthogonal(matrix_BRC)
    for matrix, found in zip(matrix_BRC, found_BRC, strict=True):
        torch.testing.assert_close(found.double(), by_singular_values(matrix), atol=1e-4, rtol=0)
        assert torch.linalg.svdvals(found).max() < 1.3


@pytest.mark.parametrize("shape", [(8, 8), (24, 8)])
def test_steps_are_those_of_torch_but_for_the_rounding_of_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(2, *shape), torch.randn(4, 2, *shape)
    ours, theirs = ([nn.Parameter(start[row].clone()) for row in range(2)] for _ in range(2))
    optimizers = Muon([{"params": ours}], lr=0.1), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0)
    for gradient in gradients:
        for weights, optimizer in zip((ours, theirs), optimizers, strict=True):
            for weight, of_weight in zip(weights, gradient, strict=True):
                weight.grad = of_weight.clone()
            optimizer.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        assert (one - other).norm() < 0.02 * (one - before).norm()


def test_blocks_are_made_orthogonal_apart() -> None:
    """A block with gradients a thousand times smaller moves as far as the others."""
    gradient = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
    gradient[4:8] *= 1e-3
    whole, split = nn.Parameter(torch.zeros(12, 8)), nn.Parameter(torch.zeros(12, 8))
    for weight, blocks in ((whole, 1), (split, 3)):
        weight.grad = gradient.clone()
        Muon([{"params": [weight], "blocks": blocks}], lr=1.0).step()
    lengths = split.detach().view(3, 4, 8).norm(dim=(1, 2))
    assert lengths.min() > 0.7 * lengths.max()
    assert whole.detach()[4:8].norm() < 0.1 * whole.detach()[:4].norm()
