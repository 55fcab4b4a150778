"""Neurons described: how active each is in every language, and the sentences in which it is most active.

Shapes are written as suffixes: S sentences, N neurons of a layer, K some of them, G languages.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from lf_experiments.measures.by_language import averages
from lf_experiments.neurons.activations import Activations

SENTENCES = 5
"""How many sentences show when a neuron is active."""


def strongest(key_neurons: pd.DataFrame, languages: list[str], most: int) -> pd.DataFrame:
    """Of every language, in their order, the key neurons with the highest z, at most so many.

    No z exceeds sqrt(G - 1), and many come near: of those that are equal in two decimals the highest scores come first.
    """
    in_order = key_neurons.assign(rounded=key_neurons["z"].round(2)).sort_values(
        ["rounded", "score"], ascending=False, kind="stable"
    )
    found = [in_order[in_order["language"] == language].head(most) for language in languages]
    return pd.concat(found, ignore_index=True).drop(columns="rounded")


def described(neurons: pd.DataFrame, activations: Activations) -> pd.DataFrame:
    """A table with `layer` and `neuron`, and three more columns of lists.

    `mean` is the mean activation in each language, in the order of `language_codes`; `sentences` are the numbers of the
    sentences in which the neuron is most active, the most active first, and `activations` what it is there.
    """
    mean_GS = averages(activations.language_S)
    nothing = pd.DataFrame({"mean": [], "sentences": [], "activations": []}, dtype=object)
    layers = [described_layer(rows, activations.h_L_SN[int(layer)], mean_GS) for layer, rows in neurons.groupby("layer")]
    return neurons.join(pd.concat(layers) if layers else nothing)


def described_layer(neurons: pd.DataFrame, h_SN: Tensor, mean_GS: Tensor) -> pd.DataFrame:
    """The three columns of some neurons of one layer."""
    h_KS = h_SN[:, torch.tensor(neurons["neuron"].tolist())].T.double()
    value_KS, sentence_KS = h_KS.sort(dim=1, descending=True, stable=True)
    columns = {"mean": h_KS @ mean_GS.T, "sentences": sentence_KS[:, :SENTENCES], "activations": value_KS[:, :SENTENCES]}
    return pd.DataFrame({name: value.tolist() for name, value in columns.items()}, neurons.index)
