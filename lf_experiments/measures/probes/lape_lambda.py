"""LAPE with a term for how often a neuron is active at its best (language neuron alignment, NJUNLP, AAAI 2026).

Shapes are written as suffixes: G languages, N neurons of a layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.rates import bar, entropy, ranked, shares, token_rates
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "gate_rate"


def lape_lambda(activations: Activations, config: ProbeConfig) -> Scores:
    """The evenness H(p') / ln G - w max p / E of a neuron, negated (score), and its rank among all neurons (z).

    p and p' as in `lape`; w is `config.weight`, and E = (1 + 1/2 + ... + 1/G) / G is what the largest of G shares drawn at
    random is on average. z as in `lape`; z > 0.9 is the 10 % of the authors' program.
    """
    rate_L_GN = token_rates(activations)
    least = bar(rate_L_GN)
    evenness_L_N = [evenness(rate_GN, config.weight) for rate_GN in rate_L_GN]
    specific = [(-even_N).nan_to_num(0).expand_as(rate_GN) for even_N, rate_GN in zip(evenness_L_N, rate_L_GN, strict=True)]
    return Scores(specific, ranked(evenness_L_N, [rate_GN > least for rate_GN in rate_L_GN]))


def evenness(rate_GN: Tensor, weight: float) -> Tensor:
    """What is ranked, (N,), the smallest first; NaN where the neuron is never active."""
    languages = len(rate_GN)
    expected = float((1 / torch.arange(1, languages + 1, dtype=torch.float64)).sum()) / languages
    return entropy(shares(rate_GN)) / math.log(languages) - weight * rate_GN.amax(dim=0) / expected
