"""Average precision: neurons whose strongest sentences are those of one language (Kojima et al., 2024, arXiv 2404.02431).

Shapes are written as suffixes: S sentences, G languages, R sentences of one language, N neurons of a layer.
"""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.by_language import by_neuron, rows_by_language
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "mean"


def average_precision(activations: Activations, _: ProbeConfig) -> Scores:
    """The mean, over the sentences of a language, of the share of that language among all sentences at least as strong.

    Score and z are the same, of the vectors of eq. (6). Guessing gives 1 / G; only the most active neurons of a language stand
    out, not those that it silences.
    """
    is_language_G_S = rows_by_language(activations)

    def precision(a_SN: Tensor) -> Tensor:
        stronger_SN = at_least_as_strong(a_SN)
        shares = (at_least_as_strong(a_SN[is_language_S]) / stronger_SN[is_language_S] for is_language_S in is_language_G_S)
        return torch.stack([share_RN.mean(dim=0) for share_RN in shares])

    precision_L_GN = list(by_neuron(activations, precision))
    return Scores(precision_L_GN, precision_L_GN)


def at_least_as_strong(a_RN: Tensor) -> Tensor:
    """How many of the sentences activate a neuron at least as strongly as each does, itself included, (R, N) in float64."""
    return torch.from_numpy(rankdata(-a_RN.numpy(), method="max", axis=0)).to(torch.float64)
