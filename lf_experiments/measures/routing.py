"""Routing: which experts of a mixture read a language, and which of them a neuron belongs to.

Shapes are written as suffixes: S sentences, E experts of a layer. `L_` marks a list over layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.sites import Experts

SHARED = -1
"""In the column `expert`: the neuron is read by every token, in a shared expert or a layer without experts."""


def routing_shares(routing: Activations) -> pd.DataFrame:
    """The share of a language's tokens that are routed to each expert, in the columns of `experts.csv`.

    `routing` are the activations of the pool `ROUTING`. The shares of a layer add up to the number of experts of a token.
    """
    rows = []
    for language in routing.language_codes:
        of_language_S = torch.tensor([code == language for code in routing.languages])
        tokens_S = routing.tokens_S.where(of_language_S, 0).double()
        for layer, share_SE in enumerate(routing.h_L_SN):
            share_E = tokens_S / tokens_S.sum() @ share_SE.double()
            rows += [(language, layer, expert, share) for expert, share in enumerate(share_E.tolist())]
    return pd.DataFrame(rows, columns=["language", "layer", "expert", "share"])


def with_experts(key_neurons: pd.DataFrame, experts: Sequence[Experts]) -> pd.DataFrame:
    """A table of key neurons with the column `expert` after `neuron`, or as it is for a model without experts."""
    if not experts:
        return key_neurons
    number, width = (np.array(of_layers)[key_neurons["layer"].to_numpy(dtype=int)] for of_layers in zip(*experts, strict=True))
    expert = np.floor_divide(key_neurons["neuron"], np.maximum(width, 1))
    found = key_neurons.copy()
    found.insert(found.columns.get_loc("neuron") + 1, "expert", np.where(expert < number, expert, SHARED))
    return found
