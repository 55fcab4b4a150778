"""Switching neurons off: the mirror of the capture, at the same sites, by the same kind of hook (sec. 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def deactivated(sites: list[nn.Module], off_LN: Tensor) -> Iterator[None]:
    """Inside the block the neurons marked in `off_LN` (layers, neurons; bool) are 0 at every token; after it all is as before.

    Blocks can be nested. A layer without a marked neuron is left alone, so that an empty region changes no bit.
    """
    if len(sites) != len(off_LN):
        raise ValueError(f"a region of {len(off_LN)} layers does not fit a model of {len(sites)}")
    handles = [site.register_forward_pre_hook(zeroing(off_N)) for site, off_N in zip(sites, off_LN, strict=True) if off_N.any()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def zeroing(off_N: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """A hook that gives a module its input with the marked neurons at 0. The mask follows the input to its device."""
    mask_N = off_N

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nonlocal mask_N
        mask_N = mask_N.to(inputs[0].device)
        return inputs[0].masked_fill(mask_N, 0), *inputs[1:]

    return hook
