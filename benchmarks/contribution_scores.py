"""Contribution scores, eq. (11): the closed form against the sum over pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.ratios import Ratio, time_ratio
from lf_experiments.equations import contribution_scores

SAMPLES, NEURONS = 100, 24 * 4096
"""One language of the paper on the neurons of bloom-560m."""


def ratios(rounds: int) -> list[Ratio]:
    """How much longer the sum over the 4,950 pairs of 100 sentences takes."""
    a_RN = torch.nn.functional.normalize(torch.randn(SAMPLES, NEURONS, generator=torch.Generator().manual_seed(0)))
    difference = float((pair_loop(a_RN.double()) - contribution_scores(a_RN)).abs().max())
    return [
        time_ratio(
            "pair loop / closed form of eq. (11), 100 sentences x 98,304 neurons",
            "",
            lambda: pair_loop(a_RN),
            lambda: contribution_scores(a_RN),
            rounds,
            f"they differ by at most {difference:.0e}",
        )
    ]


def pair_loop(a_RN: Tensor) -> Tensor:
    """Eq. (11) as it is printed."""
    score_N = torch.zeros(a_RN.shape[1], dtype=a_RN.dtype)
    for i in range(len(a_RN) - 1):
        for j in range(i + 1, len(a_RN)):
            score_N += a_RN[i] * a_RN[j]
    return score_N
