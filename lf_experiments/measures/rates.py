"""How often neurons are active in each language, which LAPE and its relatives compare.

Shapes are written as suffixes: S sentences, G languages, N neurons of a layer, K of all layers. `L_` marks a list over layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lf_experiments.measures.by_language import members
from lf_experiments.neurons.activations import Activations

BAR = 0.95
"""A neuron belongs to a language where it is active more often than this share of all neurons in all languages is."""


def token_rates(activations: Activations) -> list[Tensor]:
    """The share of the tokens of each language at which a neuron is active, layer by layer (G, N) in float64.

    From the tokens of its sentences at which it is active, whole numbers, so that equal rates are equal to the last bit.
    """
    member_GS = members(activations.language_S)
    tokens_S = activations.tokens_S.to(torch.float64)
    tokens_G1 = (member_GS @ tokens_S)[:, None]
    return [member_GS @ (rate_SN * tokens_S[:, None]).round() / tokens_G1 for rate_SN in activations.h_L_SN]


def bar(rate_L_GN: list[Tensor]) -> float:
    """The rate that `BAR` of the rates of all neurons in all languages do not exceed."""
    rates = torch.cat([rate_GN.flatten() for rate_GN in rate_L_GN])
    return float(rates.kthvalue(max(1, round(BAR * len(rates)))).values)


def shares(rate_GN: Tensor) -> Tensor:
    """The rates of a neuron in all languages as shares of their sum; NaN where it is never active."""
    return rate_GN / rate_GN.sum(dim=0)


def entropy(share_GN: Tensor) -> Tensor:
    """The entropy of the shares of each neuron over the languages, (N,) in nats; 0 ln 0 is 0."""
    return torch.special.entr(share_GN).sum(dim=0)


def ranked(evenness_L_N: list[Tensor], is_active_L_GN: list[Tensor]) -> list[Tensor]:
    """The share of all neurons that are no less even than a neuron is, (G, N); -inf in languages where it is not active.

    A neuron that is active in no language counts as the most even. 1 is the least even of all, and above 0.99 are those 1 %
    that are least even: what the papers select.
    """
    active_L_N = [is_active_GN.any(dim=0) for is_active_GN in is_active_L_GN]
    evenness_K = torch.cat([torch.where(*pair, torch.inf) for pair in zip(active_L_N, evenness_L_N, strict=True)])
    evenness_K = evenness_K.round(decimals=12)  # those that are equal but for rounding have one rank
    less_even_K = torch.searchsorted(evenness_K.sort().values, evenness_K)
    rank_K = 1 - less_even_K.to(torch.float64) / len(evenness_K)
    ranks_L_N = rank_K.split([len(evenness_N) for evenness_N in evenness_L_N])
    return [
        torch.where(is_active_GN, rank_N, -torch.inf) for is_active_GN, rank_N in zip(is_active_L_GN, ranks_L_N, strict=True)
    ]
