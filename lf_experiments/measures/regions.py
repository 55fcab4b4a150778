"""Key linguistic regions: the neurons that contribute exceptionally to one language, and random ones for comparison.

Shapes are written as suffixes: S sentences, G languages, L layers, N neurons of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from lf_experiments.measures.equations import activation_norm, activation_vectors, contribution_scores, z_scores


@dataclass(frozen=True)
class Regions:
    """The contribution of every neuron to every language, and which neurons are key."""

    score_GLN: Tensor
    """Eq. (11), float64."""
    z_GLN: Tensor
    """Eq. (12), float64."""
    is_key_GLN: Tensor
    """The key linguistic region of each language, bool."""

    @property
    def sklr(self) -> int:
        """Size of Key Linguistic Regions: the key neurons of all languages together (sec. 3.2)."""
        return int(self.is_key_GLN.sum())

    def sizes(self, languages: list[str]) -> pd.DataFrame:
        """The size of every region at every layer, in the columns of `regions.csv`; `languages` names the rows."""
        _, layers, neurons = self.is_key_GLN.shape
        rows = [(language, layer) for language in languages for layer in range(layers)]
        table = pd.DataFrame(rows, columns=["language", "layer"])
        return table.assign(key_neurons=self.is_key_GLN.sum(dim=2).flatten().numpy(), neurons=neurons)

    def key_neurons(self, languages: list[str]) -> pd.DataFrame:
        """Every key neuron, in the columns of `key_neurons.parquet`."""
        language, layer, neuron = (index.numpy() for index in self.is_key_GLN.nonzero(as_tuple=True))
        return pd.DataFrame(
            {
                "language": [languages[row] for row in language],
                "layer": layer,
                "neuron": neuron,
                "score": self.score_GLN[self.is_key_GLN].numpy(),
                "z": self.z_GLN[self.is_key_GLN].numpy(),
            }
        )


def probe(h_LSN: Tensor, language_S: Tensor, threshold: float) -> Regions:
    """The key linguistic region of each language: neurons whose z-score exceeds `threshold` (sec. 3.3).

    `language_S` numbers the language of each sentence from 0. Works layer by layer: eq. (11) and (12) take each neuron by
    itself, and only the norm of eq. (6) is over all layers.
    """
    norm_S = activation_norm(h_LSN)
    languages = [language_S == language for language in range(int(language_S.max()) + 1)]
    score_LGN = []
    for h_SN in h_LSN:
        a_SN = activation_vectors(h_SN, norm_S)
        score_LGN.append(torch.stack([contribution_scores(a_SN[of_language_S]) for of_language_S in languages]))
    z_LGN = [z_scores(score_GN) for score_GN in score_LGN]
    z_GLN = torch.stack(z_LGN, dim=1)
    return Regions(torch.stack(score_LGN, dim=1), z_GLN, z_GLN > threshold)


def region_of(language: str, key_neurons: pd.DataFrame, layers: int, neurons: int) -> Tensor:
    """The key region of a language from a table of key neurons, (L, N), bool."""
    rows = key_neurons[key_neurons["language"] == language]
    region = torch.zeros(layers, neurons, dtype=torch.bool)
    region[rows["layer"].tolist(), rows["neuron"].tolist()] = True
    return region


def random_region(layers: int, neurons: int, size: int, seed: int) -> Tensor:
    """`size` neurons drawn at random from the whole model, as a region (L, N), bool; equal for equal seeds."""
    generator = torch.Generator().manual_seed(seed)
    region = torch.zeros(layers * neurons, dtype=torch.bool)
    region[torch.randperm(len(region), generator=generator)[:size]] = True
    return region.view(layers, neurons)
