"""What a deactivation costs, with paired intervals: every window of text is its own control.

Shapes are written as suffixes: W windows, G languages, R draws of a control.
"""

from __future__ import annotations

import math

import numpy as np

from lf_experiments.intervals import Effect, combined, ratio_of_sums

LEAST_WINDOWS = 2
FEW_WINDOWS = 10
"""Below so many windows an interval is shown with a warning; below `LEAST_WINDOWS` there is none."""
LEAST_DRAWS = 2


def log_ratio(on_W: np.ndarray, off_W: np.ndarray, tokens_W: np.ndarray) -> Effect:
    """The logarithm of the ratio of two perplexities of the same windows: the mean rise in nats per predicted token.

    `on_W` and `off_W` are the summed negative log-likelihoods of every window, in nats. The error is that of a ratio of sums
    over windows; 100 (e^x - 1) is the increase in percent.
    """
    return ratio_of_sums(off_W - on_W, tokens_W)


def against_control(own_W: np.ndarray, control_RW: np.ndarray, tokens_W: np.ndarray) -> Effect:
    """How much more a region costs than random neurons like it do, in nats per token; `own_W` and the rows are `off_W`.

    The value is against the mean of the draws. The error has a part of the windows, which are shared, and one of the draws: a
    region that is as random as they are lies as far from their mean as another draw would, s^2 (1 + 1/R). One draw alone does
    not tell how much draws differ: there is no error then.
    """
    paired = log_ratio(control_RW.mean(axis=0), own_W, tokens_W)
    draws = len(control_RW)
    if draws < LEAST_DRAWS:
        return Effect(paired.value, math.nan, 0)
    spread = float(np.var(control_RW.sum(axis=1) / tokens_W.sum(), ddof=1))
    return combined([(1, paired), (1, Effect(0.0, math.sqrt(spread * (1 + 1 / draws)), draws - 1))])


def control_p_value(own_W: np.ndarray, control_RW: np.ndarray) -> float:
    """How often random neurons cost as much as a region or more, the region counted among them: at least 1 / (R + 1)."""
    reached = control_RW.sum(axis=1) >= own_W.sum()
    return float((1 + reached.sum()) / (1 + len(control_RW)))


def double_centred(effect_GG: np.ndarray) -> np.ndarray:
    """The effect of each region on its own language, free of how strong the region and how sensitive the language are, (G,).

    `effect_GG` is evaluated by deactivated language. The mean is that of the diagonal less that of the other cells.
    """
    languages = len(effect_GG)
    rows, columns = effect_GG.mean(axis=1), effect_GG.mean(axis=0)
    return (np.diag(effect_GG) - rows - columns + effect_GG.mean()) * languages / (languages - 1)


def assignment_p_value(effect_GG: np.ndarray, permutations: int, seed: int) -> float:
    """How often regions shuffled over languages cost their languages as much in all as the true assignment does."""
    random = np.random.default_rng(seed)
    languages = np.arange(len(effect_GG))
    traces = [effect_GG[languages, random.permutation(len(effect_GG))].sum() for _ in range(permutations)]
    reached = np.asarray(traces) >= np.trace(effect_GG) - 1e-12 * np.abs(effect_GG).sum()
    return float((1 + reached.sum()) / (1 + permutations))
