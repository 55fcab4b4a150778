"""PLND: neurons that matter in every sentence of a language, and not in every sentence of every language.

Parallel language-specific neuron detection (Zhao et al., 2024, arXiv 2402.18815) for the neurons of MLPs.

Shapes are written as suffixes: S sentences, G languages, N neurons of a layer, K of all layers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "impact"


def plnd(activations: Activations, config: ProbeConfig) -> Scores:
    """The rank of a neuron in the sentence of a language where it matters least (score), and that for selection (z).

    How much a neuron matters in a sentence is the norm of what it adds to the residual stream at a token, on average: its
    magnitude times the norm of its column. Its rank is the share of all neurons of the model that matter less there. A neuron
    is one of a language if its rank exceeds `config.threshold` in all its sentences; those that are so of all languages are of
    none in particular, and have z = -inf.
    """
    least_GK = least_ranks(activations)
    is_of_all_K = (least_GK > config.threshold).all(dim=0)
    z_GK = torch.where(is_of_all_K, -torch.inf, least_GK)
    return Scores(list(least_GK.split(activations.widths, dim=1)), list(z_GK.split(activations.widths, dim=1)))


def least_ranks(activations: Activations) -> Tensor:
    """The smallest rank of every neuron over the sentences of each language, (G, K) in float64; one sentence at a time."""
    least_GK = torch.ones(len(activations.language_codes), activations.num_neurons, dtype=torch.float64)
    for sentence, language in enumerate(activations.language_S.tolist()):
        least_K = share_below(activations.sentence(sentence))
        torch.minimum(least_GK[language], least_K, out=least_GK[language])
    return least_GK


def share_below(value_K: Tensor) -> Tensor:
    """For every number the share of all of them that are smaller, in float64."""
    order_K = torch.from_numpy(np.argsort(value_K.numpy()))
    sorted_K = value_K[order_K]
    place_K = torch.arange(len(value_K))
    place_K[1:][sorted_K[1:] == sorted_K[:-1]] = 0  # of equal numbers the place of the first
    share_K = place_K.cummax(dim=0).values.to(torch.float64) / len(value_K)
    return torch.empty_like(share_K).index_copy_(0, order_K, share_K)
