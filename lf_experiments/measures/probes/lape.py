"""LAPE, language activation probability entropy: neurons active in few languages (Tang et al., 2024, arXiv 2402.16438).

Shapes are written as suffixes: G languages, N neurons of a layer.
"""

from __future__ import annotations

import math

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.rates import bar, entropy, ranked, shares, token_rates
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "gate_rate"


def lape(activations: Activations, _: ProbeConfig) -> Scores:
    """How far the entropy of a neuron's rates over languages is below that of equal rates (score, in nats), and its rank (z).

    p is the share of the tokens of a language at which the neuron is active, at its gate where the MLP has gates, and p' these
    as shares of their sum; LAPE is the entropy of p'. A neuron is active in a language where p is above 95 % of all p; there
    z is the share of all neurons whose entropy is no smaller, elsewhere -inf. z > 0.99 is the paper's 1 %.
    """
    rate_L_GN = token_rates(activations)
    least = bar(rate_L_GN)
    entropy_L_N = [entropy(shares(rate_GN)) for rate_GN in rate_L_GN]
    specific = [
        (math.log(len(rate_GN)) - entropy_N).nan_to_num(0).expand_as(rate_GN)
        for rate_GN, entropy_N in zip(rate_L_GN, entropy_L_N, strict=True)
    ]
    return Scores(specific, ranked(entropy_L_N, [rate_GN > least for rate_GN in rate_L_GN]))
