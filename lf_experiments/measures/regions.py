"""Key linguistic regions: the neurons that belong to one language more than to the others, and random ones for comparison.

Shapes are written as suffixes: G languages, N neurons of a layer. `L_` marks a list over layers, which may differ in width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.interventions import RANDOM, VALUES, Intervention


@dataclass(frozen=True)
class Scores:
    """What a probe finds: how much every neuron belongs to every language."""

    score_L_GN: list[Tensor]
    """In the unit of the method, float64; of `zscore` it is eq. (11)."""
    z_L_GN: list[Tensor]
    """What neurons are selected by, float64, the highest first; of `zscore` it is eq. (12). -inf where none can be key."""


@dataclass(frozen=True)
class Region:
    """Some neurons of a model."""

    language: str
    """Whose key neurons they are, or `RANDOM`."""
    where_L_N: list[Tensor]
    """The neurons, layer by layer, bool."""

    @property
    def size(self) -> int:
        """How many neurons it has."""
        return sum(int(where_N.sum()) for where_N in self.where_L_N)

    def zero(self, draw: int = 0) -> Intervention:
        """Its deactivation, as in the paper (sec. 4.3); `draw` tells random regions apart."""
        return Intervention(self.language, self.where_L_N, draw)

    def intervention(self, kind: str, activations: Activations | None = None, dose: float = 1.0, draw: int = 0) -> Intervention:
        """Whatever else can be done to it, by its name; the activations of mean pooling say what neurons are moved to.

        Raises `ValueError` for a kind that needs activations and is given none, or others than means.
        """
        if kind not in VALUES:
            return Intervention(self.language, self.where_L_N, draw, kind, dose)
        if activations is None or activations.pool != "mean":
            raise ValueError(f"the intervention {kind} moves neurons to a mean: give the activations of the pool mean")
        return Intervention(self.language, self.where_L_N, draw, kind, dose, VALUES[kind](activations, self.language))


@dataclass(frozen=True)
class Regions:
    """How much every neuron belongs to every language, and which neurons are key: `regions["fr"]` is a `Region`."""

    languages: list[str]
    score_L_GN: list[Tensor]
    """As in `Scores`."""
    z_L_GN: list[Tensor]
    """As in `Scores`."""
    is_key_L_GN: list[Tensor]
    """The key linguistic region of each language, bool."""
    frequency_L_GN: list[Tensor] | None = None
    """The share of the halves of the sentences that select a neuron; None where none were tried."""

    def replicated(self, least: float) -> Regions:
        """The regions of the key neurons that at least this share of the halves select."""
        if self.frequency_L_GN is None:
            raise ValueError("these regions were not selected in halves of the sentences")
        pairs = zip(self.is_key_L_GN, self.frequency_L_GN, strict=True)
        return replace(self, is_key_L_GN=[is_key_GN & (frequency_GN >= least) for is_key_GN, frequency_GN in pairs])

    @property
    def size_LG(self) -> Tensor:
        """Key neurons of every layer and language, int64."""
        return torch.stack([is_key_GN.sum(dim=1) for is_key_GN in self.is_key_L_GN])

    def __getitem__(self, language: str) -> Region:
        """The key linguistic region of a language."""
        row = self.languages.index(language)
        return Region(language, [is_key_GN[row] for is_key_GN in self.is_key_L_GN])

    @property
    def sklr(self) -> int:
        """Size of Key Linguistic Regions: the key neurons of all languages together (sec. 3.2)."""
        return sum(int(is_key_GN.sum()) for is_key_GN in self.is_key_L_GN)

    def sizes(self) -> pd.DataFrame:
        """The size of every region at every layer, in the columns of `regions.csv`."""
        rows = [(language, layer) for language in self.languages for layer in range(len(self.is_key_L_GN))]
        widths = [is_key_GN.shape[1] for is_key_GN in self.is_key_L_GN]
        table = pd.DataFrame(rows, columns=["language", "layer"])
        return table.assign(key_neurons=self.size_LG.T.flatten().numpy(), neurons=widths * len(self.languages))

    def selected_by(self) -> pd.DataFrame:
        """What every neuron is selected by, in the columns of `neuron_scores.parquet`: `layer`, `neuron`, every language."""
        tables = [
            pd.DataFrame(z_GN.T.to(torch.float32).numpy(), columns=self.languages)
            .rename_axis("neuron")
            .reset_index()
            .assign(layer=layer)
            for layer, z_GN in enumerate(self.z_L_GN)
        ]
        table = pd.concat(tables, ignore_index=True).astype({"layer": np.int32, "neuron": np.int32})
        return table[["layer", "neuron", *self.languages]]

    def key_neurons(self) -> pd.DataFrame:
        """Every key neuron, language by language, in the columns of `key_neurons.parquet`."""
        table = pd.concat([self.key_neurons_of_layer(layer) for layer in range(len(self.is_key_L_GN))])
        table = table.sort_values("language", kind="stable", ignore_index=True)
        return table.assign(language=np.array(self.languages, dtype=object)[table["language"]])

    def key_neurons_of_layer(self, layer: int) -> pd.DataFrame:
        """The key neurons of one layer, with the place of their language for its code."""
        is_key_GN = self.is_key_L_GN[layer]
        language, neuron = (index.numpy() for index in is_key_GN.nonzero(as_tuple=True))
        score, z = (value_L_GN[layer][is_key_GN].numpy() for value_L_GN in (self.score_L_GN, self.z_L_GN))
        frequency = math.nan if self.frequency_L_GN is None else self.frequency_L_GN[layer][is_key_GN].numpy()
        columns = {"language": language, "layer": layer, "neuron": neuron, "score": score, "z": z, "frequency": frequency}
        return pd.DataFrame(columns).astype({"frequency": np.float32})


def region_of(language: str, key_neurons: pd.DataFrame, widths: list[int], fraction: float = 1.0) -> Region:
    """The key region of a language from a table of key neurons, in a model with layers of these widths.

    Of a `fraction` it is the neurons with the highest z, rounded up; neurons of equal z are taken in the order of the table.
    """
    where_L_N = [torch.zeros(width, dtype=torch.bool) for width in widths]
    of_language = key_neurons[key_neurons["language"] == language]
    if fraction < 1:
        of_language = of_language.sort_values("z", ascending=False, kind="stable")[: math.ceil(fraction * len(of_language))]
    for layer, rows in of_language.groupby("layer"):
        where_L_N[layer][rows["neuron"].tolist()] = True
    return Region(language, where_L_N)


def random_region(widths: list[int], size: int, seed: int) -> Region:
    """`size` neurons drawn at random from the whole model, each as likely as any other; equal for equal seeds."""
    generator = torch.Generator().manual_seed(seed)
    where_K = torch.zeros(sum(widths), dtype=torch.bool)
    where_K[torch.randperm(len(where_K), generator=generator)[:size]] = True
    return Region(RANDOM, list(where_K.split(widths)))
