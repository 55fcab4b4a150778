"""Pools: what is kept of a neuron over the tokens of a sentence. Each is a mean over tokens of something made of one number.

Shapes are written as suffixes: B sentences, T tokens, N neurons of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lf_experiments.equations import mean_activation

Pool = Callable[[Tensor, Tensor], Tensor]
"""(neurons (B, T, N), mask (B, T): 1 at tokens, 0 at padding) -> (B, N) in float32, whatever the number format of the model."""


def activation(h: Tensor) -> Tensor:
    """The activation itself."""
    return h


def is_active(h: Tensor) -> Tensor:
    """1 where a neuron is active, h > 0, and 0 elsewhere. What is not finite stays so: it is not taken for a silent neuron."""
    return torch.gt(h, 0, out=torch.empty_like(h)).add_(h, alpha=0)  # several times as fast as by way of bool


AVERAGED: dict[str, Callable[[Tensor], Tensor]] = {"mean": activation, "rate": is_active, "magnitude": Tensor.abs}
"""What is averaged over the tokens, number by number, by the name of the pool. `mean` is eq. (5), which the paper's scores and
regions are made of; `rate` the share of the tokens at which a neuron is active; `magnitude` the mean of |h|."""

ROUTING = "routing"
"""The pool of experts, not of neurons: the share of the tokens that are routed to each expert of a layer."""


def pooled_by(averaged: Callable[[Tensor], Tensor], h_BTN: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over the tokens of a sentence, (B, N) in float32."""
    return mean_activation(averaged(h_BTN), mask_BT)


POOLS: dict[str, Pool] = {name: partial(pooled_by, averaged) for name, averaged in AVERAGED.items()}
"""The pools of neurons by name."""

GATE_POOLS: dict[str, Pool] = {"gate_rate": POOLS["rate"]}
"""Of what opens the neurons of a gated MLP, act(gate) in place of act(gate) * up; elsewhere of the neurons."""

ALL_POOLS = {**POOLS, **GATE_POOLS}
"""What one forward pass can keep."""

IMPACT = "impact"
"""The pool of the magnitude of a neuron times the norm of its column of the second MLP matrix: how much it adds to the residual
stream. It is made of the pool `magnitude` and of the weights."""

ATTRIBUTION = "attribution"
"""The pool of what a neuron is worth to the prediction of a sentence; a pass of its own makes it (`neurons/attribution.py`)."""
