"""Soundness: activations of which the scores are right and say nothing, told in words (LRDS = SADS = 0 reads as a finding)."""

from __future__ import annotations

import torch

from lf_experiments.neurons.activations import Activations

SPREAD = 1e-5
"""Activations that differ by less than this share of the largest are equal but for rounding."""


def warnings_of(activations: Activations) -> list[str]:
    """What is to be said of activations that are all 0 somewhere, or the same for every sentence; nothing of sound ones."""
    silent_LS = torch.stack([(h_SN == 0).all(dim=1) for h_SN in activations.h_L_SN])
    if silent_LS.all():
        return ["no neuron is active on any sentence: scores of 0 say nothing about languages"]
    if all(is_constant(h_SN) for h_SN in activations.h_L_SN):
        return ["the neurons do the same on every sentence: scores of 0 say nothing about languages"]
    silent_S, silent_L = silent_LS.all(dim=0), silent_LS.all(dim=1)
    found = []
    if silent_S.any():
        first = int(silent_S.nonzero()[0])
        place = f"meaning {activations.meanings[first]!r} in {activations.languages[first]}"
        found.append(f"{int(silent_S.sum())} of {len(silent_S)} sentences activate no neuron (the first: {place})")
    if silent_L.any():
        found.append(f"no neuron of the layers {silent_L.nonzero().flatten().tolist()} is active on any sentence")
    return found


def is_constant(h_SN: torch.Tensor) -> bool:
    """Whether every neuron of a layer does the same on all sentences, but for rounding."""
    return bool((h_SN.amax(dim=0) - h_SN.amin(dim=0)).max() <= SPREAD * h_SN.abs().max())
