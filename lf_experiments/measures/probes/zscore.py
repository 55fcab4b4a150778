"""The paper's probe: neurons whose contribution to a language is exceptional among the languages (sec. 3.3, eq. 10-14).

Shapes are written as suffixes: G languages, R sentences of one language, N neurons of a layer.
"""

from __future__ import annotations

import math

import torch

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.equations import contribution_scores, standardised, z_scores
from lf_experiments.errors import InputError
from lf_experiments.measures.by_language import rows_by_language, scored_neurons
from lf_experiments.measures.regions import Scores
from lf_experiments.measures.uncertainty import nulls
from lf_experiments.neurons.activations import Activations

POOL = "mean"


def zscore(activations: Activations, _: ProbeConfig) -> Scores:
    """The contribution of every neuron to every language, eq. (11), and its z-score among the languages, eq. (12).

    Works layer by layer: both take each neuron by itself, and only the norm of eq. (6) is over all layers.
    """
    is_language_G_S = rows_by_language(activations)

    def scored(a_SN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        score_GN = torch.stack([contribution_scores(a_SN[is_language_S]) for is_language_S in is_language_G_S])
        return score_GN, z_scores(score_GN)

    return Scores(*scored_neurons(activations, scored))


def of_moments(sum_BGN: torch.Tensor, square_BGN: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """z from the sums and the sums of squares over the sentences of every language, eq. (11) and (12), in their format."""
    return standardised((sum_BGN.square() - square_BGN) / 2)


def noise_floor(probe: ProbeConfig, languages: int) -> float:
    """The share of neurons that noise alone makes key (`uncertainty/nulls.py`)."""
    return nulls.noise_floor(languages, probe.threshold)


def check(probe: ProbeConfig, languages: int) -> None:
    """Raise `InputError` for a threshold that no z-score over G languages can exceed: eq. (14) bounds it by sqrt(G - 1)."""
    largest = math.sqrt(languages - 1)
    if probe.threshold >= largest:
        raise InputError(
            "probe.threshold",
            probe.threshold,
            f"no z-score over {languages} languages can exceed sqrt({languages} - 1) = {largest:.3f}; nothing would be key",
            f"choose a threshold below {largest:.3f}, or more languages",
        )


def most_languages(probe: ProbeConfig, languages: int) -> int:
    """For how many of G languages a neuron can be key.

    Its z-scores add up to 0 and their squares to G: at most G / (1 + t^2) of them are above a threshold t > 0.
    """
    return math.floor(languages / (1 + probe.threshold**2)) if probe.threshold > 0 else languages
