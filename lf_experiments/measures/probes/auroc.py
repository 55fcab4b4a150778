"""AUROC: neurons by which a sentence of one language can be told from one of another, whatever the shape of their values.

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


def auroc(activations: Activations, _: ProbeConfig) -> Scores:
    """The probability that a sentence of a language moves the neuron more than one of another language does (score and z).

    The area under the ROC curve, from ranks (Mann and Whitney, 1947) of the vectors of eq. (6); a tie counts half. Guessing
    gives 0.5; below that the neuron is weaker in the language.
    """
    language_GS = torch.stack(rows_by_language(activations))
    area_L_GN = list(by_neuron(activations, lambda a_SN: area(ranks(a_SN), language_GS)))
    return Scores(area_L_GN, area_L_GN)


def ranks(a_SN: Tensor) -> Tensor:
    """The rank of every sentence at every neuron, (S, N) in float64 from 1; equal values have their mean rank."""
    return torch.from_numpy(rankdata(a_SN.numpy(), axis=0))


def area(rank_SN: Tensor, language_GS: Tensor) -> Tensor:
    """The area under the ROC curve of every language against all others, (G, N)."""
    inside_G1 = language_GS.sum(dim=1, keepdim=True).to(torch.float64)
    outside_G1 = language_GS.shape[1] - inside_G1
    rank_sum_GN = language_GS.to(torch.float64) @ rank_SN
    return (rank_sum_GN - inside_G1 * (inside_G1 + 1) / 2) / (inside_G1 * outside_G1)
