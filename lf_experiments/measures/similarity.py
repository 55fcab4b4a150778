"""Similarity maps and the two scores made of them, for the whole model and for each layer (sec. 3.1 and 3.2).

Shapes are written as suffixes: S sentences, L layers, N neurons of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lf_experiments.measures.equations import lrds, sads, similarity_map


@dataclass(frozen=True)
class Comparison:
    """How alike the sentences are to the model."""

    similarity_SS: Tensor
    """Eq. (7) over the neurons of all layers, float64."""
    lrds: float
    """Eq. (8) of that map."""
    sads: float
    """Eq. (9) of that map."""
    layer_lrds: list[float]
    """Eq. (8) of the map of each layer alone."""
    layer_sads: list[float]
    """Eq. (9) of the map of each layer alone."""


def compare(h_LSN: Tensor, language_S: Tensor, meaning_S: Tensor) -> Comparison:
    """Compare every pair of sentences. `language_S` and `meaning_S` number the language and the meaning of each.

    Inner products add up over layers, so only one layer's neurons and (S, S) maps are in hand at a time.
    """
    total_SS = torch.zeros(len(language_S), len(language_S), dtype=torch.float64)
    layer_lrds, layer_sads = [], []
    for h_SN in h_LSN:
        gram_SS = (h_SN @ h_SN.T).to(torch.float64)
        total_SS += gram_SS
        layer_SS = similarity_map(gram_SS)
        layer_lrds.append(lrds(layer_SS, language_S, meaning_S))
        layer_sads.append(sads(layer_SS, language_S, meaning_S))
    similarity_SS = similarity_map(total_SS)
    return Comparison(
        similarity_SS,
        lrds(similarity_SS, language_S, meaning_S),
        sads(similarity_SS, language_S, meaning_S),
        layer_lrds,
        layer_sads,
    )
