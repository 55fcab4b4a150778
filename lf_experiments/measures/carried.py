"""What each neuron carries of LRDS: eq. (8) is a mean of products of activations, and so a sum over neurons.

Shapes are written as suffixes: S sentences, G languages, M meanings, N neurons of a layer, K of all layers. `L_` marks a list
over layers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from lf_experiments.measures.by_language import averages, by_neuron, parallel_rows
from lf_experiments.neurons.activations import Activations


def lrds_contribution(activations: Activations) -> Iterator[Tensor]:
    """Yields, layer by layer, what every neuron adds to the LRDS of the whole model, (N,) in float64; the sum is LRDS.

    The estimated variance between languages of the neuron in the vectors of eq. (6): the mean square between languages less
    that of what neither language nor meaning explains, over the number of meanings. It is negative where languages differ less
    than chance would have it. Raises `ValueError` for sentences that are not parallel.
    """
    languages, meanings = parallel_rows(activations).shape
    language_GS, meaning_MS = averages(activations.language_S), averages(activations.meaning_S)

    def carried(a_SN: Tensor) -> Tensor:
        of_language_GN, of_meaning_MN = language_GS @ a_SN, meaning_MS @ a_SN
        mean_N = of_language_GN.mean(dim=0)
        between_N = meanings * (of_language_GN - mean_N).square().sum(dim=0)
        across_N = languages * (of_meaning_MN - mean_N).square().sum(dim=0)
        rest_N = torch.linalg.vector_norm(a_SN, dim=0).square() - languages * meanings * mean_N.square() - between_N - across_N
        return (between_N / (languages - 1) - rest_N / ((languages - 1) * (meanings - 1))) / meanings

    yield from by_neuron(activations, carried)


def contribution_table(contribution_L_N: list[Tensor]) -> pd.DataFrame:
    """Every neuron and what it carries, in the columns of `contributions.parquet`."""
    of_layers = [
        pd.DataFrame({"layer": layer, "neuron": range(len(carried_N)), "lrds": carried_N.numpy()})
        for layer, carried_N in enumerate(contribution_L_N)
    ]
    return pd.concat(of_layers, ignore_index=True).astype({"layer": "int32", "neuron": "int32"})


def share_for_half(contribution_K: Tensor) -> float:
    """The share of all neurons that carries half of the sum, those that carry most; NaN where the sum is not positive."""
    total = contribution_K.sum()
    if total <= 0:
        return float("nan")
    carried_K = contribution_K.sort(descending=True).values.cumsum(dim=0)
    return (int((carried_K < total / 2).sum()) + 1) / len(contribution_K)
