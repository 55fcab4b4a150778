"""How a claim about a line of runs, over training or over scale, is decided: by its change and by its slope, with intervals.

Runs of a line read the same sentences, and are compared in pairs (`runs/paired.py`). What is random are the sentences: the
intervals are for these checkpoints of this training, not for another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from lf_experiments.intervals import Effect, combined
from lf_experiments.paper.finding import NO_INTERVAL, Answer, Finding, effect_text, missing, side, together
from lf_experiments.paper.rules import first_few
from lf_experiments.runs.derived import key_neurons_by_layer
from lf_experiments.runs.lines import probed
from lf_experiments.runs.paired import change, level_of, slope
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SKLR_SHARE, Score
from lf_experiments.runs.text import count_text, share_text

LEAST_POINTS = 3
"""Two points are no trend."""
PLACES: dict[str, Callable[[float], str]] = {
    "training_step": "step {:,.0f}".format,
    "num_parameters": lambda parameters: f"{count_text(parameters)} parameters",
}
"""How a figure names a point of an axis."""
EXCESS, REPLICATED = "sklr_excess", "sklr_replicated"
"""Key neurons beyond those of shuffled languages, and those that halves of the sentences find again."""


def over_training(line: pd.DataFrame, score: Score, rises: bool) -> Finding:
    """Whether a score rises, or falls, over the training steps, from its turn on."""
    return trend(line, "training_step", score, rises, from_turn=True)


def over_scale(line: pd.DataFrame, score: Score, rises: bool) -> Finding:
    """Whether a score rises, or falls, with the number of parameters."""
    return trend(line, "num_parameters", score, rises)


def trend(line: pd.DataFrame, x: str, score: Score, rises: bool, from_turn: bool = False) -> Finding:
    """Whether a score rises, or falls, along `x`: its change from the first point to the last, and its slope over log `x`.

    `line` is in the order of `x`. Points that share their weights with another, and those that were not measured, are left
    out. With `from_turn` only what comes after the lowest point, or after the highest for one that falls, is judged, where that
    point lies in the first half; as the data choose it, the intervals are as wide as for all points that could have been it.
    The figures are the first point, the one to rise or fall from, and the last.
    """
    points = measured_points(line, x, score)
    if points[x].nunique() < LEAST_POINTS:
        return missing(f"measured at {points[x].nunique()} points, {LEAST_POINTS} are needed")
    value = points[score.column].to_numpy(float)
    turn = int(value.argmin() if rises else value.argmax())
    first = turn if from_turn and turn <= (len(value) - 1) / 2 else 0
    runs, places = list(points.index)[first:], points[x].to_numpy(float)
    candidates = (len(value) + 1) // 2 if from_turn else 1
    level = 1 - (1 - level_of(runs[-1])) / candidates
    found = change(runs[0], runs[-1], score), slope(runs, places[first:], score)
    course = course_text(places, value, {0, turn, len(value) - 1}, x, score.text)
    if None in found:
        return Finding(Answer.UNDECIDED, f"{course}; {NO_INTERVAL}")
    sign = 1 if rises else -1
    answer = together(side(combined([(sign, effect)]), level) for effect in found)
    text = change_text(score)
    return Finding(
        answer, f"{course}; change {effect_text(found[0], level, text)}, {effect_text(found[1], level, text)} per e-fold"
    )


def measured_points(line: pd.DataFrame, x: str, score: Score) -> pd.DataFrame:
    """The points of a line at which a score was measured, without those that share their weights with another."""
    points = line[line[score.column].notna() & ~line["duplicated"]]
    return points[points[x].astype(float) > 0]


def course_text(places: np.ndarray, value: np.ndarray, told: set[int], x: str, text: Callable[[float], str]) -> str:
    """Some points of a course in words."""
    return ", ".join(f"{text(value[point])} at {PLACES[x](places[point])}" for point in sorted(told))


def change_text(score: Score) -> Callable[[float], str]:
    """How a change of a score is written: a share in points of percent."""
    return (lambda value: f"{100 * value:+.1f} points") if score.is_share else "{:+.4f}".format


def regions_over_training(line: pd.DataFrame) -> Finding:
    """Whether the key regions become smaller over the training steps, from their largest point on.

    Their size is no smooth function of the sentences, and has no interval of its own: what is judged is its excess over what
    shuffled languages give, with the interval of the shuffles, and the key neurons that halves of the sentences find again
    must go the same way.
    """
    points = measured_points(line, "training_step", SKLR_SHARE)
    if len(points) < LEAST_POINTS:
        return missing(f"measured at {len(points)} points, {LEAST_POINTS} are needed")
    value, places = points[SKLR_SHARE.column].to_numpy(float), points["training_step"].to_numpy(float)
    turn = int(value.argmax())
    first = turn if turn <= (len(value) - 1) / 2 else 0
    course = course_text(places, value, {0, turn, len(value) - 1}, "training_step", share_text)
    runs = list(points.index)
    excess = [excess_of(run) for run in (runs[first], runs[-1])]
    again = [run.metrics[REPLICATED] for run in (runs[first], runs[-1])]
    if None in (*excess, *again):
        return Finding(Answer.UNDECIDED, f"{course}; neither shuffled languages nor halves were tried")
    level = level_of(runs[-1])
    fall = combined([(1, excess[0]), (-1, excess[1])])
    answer, falls_again = side(fall, level), Answer.HOLDS if again[1] < again[0] else Answer.FAILS
    neurons = [run.metrics.num_neurons for run in (runs[first], runs[-1])]
    figures = (
        f"{course}; beyond shuffled languages {share_text(excess[0].value / neurons[0])}, then "
        f"{share_text(excess[1].value / neurons[1])}; found again by halves {share_text(again[0] / neurons[0])}, then "
        f"{share_text(again[1] / neurons[1])}"
    )
    return Finding(answer if answer is falls_again else Answer.UNDECIDED, figures)


def excess_of(run: Run) -> Effect | None:
    """The excess of SKLR over shuffled languages, with the error of the shuffles."""
    value, interval = run.metrics[EXCESS], run.metrics.interval(EXCESS)
    if value is None or interval is None:
        return None
    reach = Effect(0.0, 1.0, math.inf).interval(level_of(run))[1]
    return Effect(value, (interval[1] - interval[0]) / 2 / reach, math.inf)


def first_layers_share(line: pd.DataFrame) -> Finding:
    """Whether the share of the key neurons that lie in the first layers rises over the training steps.

    Shares of counts have no interval: decided where all key neurons, their excess and those found again agree on how the last
    step stands to the first.
    """
    runs = measured_points(probed(line).assign(**{SKLR_SHARE.column: 0.0}), "training_step", SKLR_SHARE)
    runs = runs[[bool(key_neurons_by_layer(run.regions).sum()) for run in runs.index]]
    if len(runs) < LEAST_POINTS:
        return missing(f"measured at {len(runs)} points, {LEAST_POINTS} are needed")
    tables, places = [run.regions for run in runs.index], runs["training_step"].to_numpy(float)
    value = np.array([share_of_first(table, "key_neurons") for table in tables])
    course = course_text(places, value, {0, len(value) - 1}, "training_step", share_text)
    columns = [name for name in ("key_neurons", "excess", "replicated") if all(name in table for table in tables)]
    rises = {share_of_first(tables[-1], name) > share_of_first(tables[0], name) for name in columns}
    if len(columns) < 3 or len(rises) > 1:
        return Finding(Answer.UNDECIDED, f"{course}; their number, their excess and those found again do not agree")
    return Finding(Answer.HOLDS if rises.pop() else Answer.FAILS, course)


def share_of_first(regions: pd.DataFrame, column: str) -> float:
    """The share of a column of `regions.csv` that lies in the first layers."""
    by_layer = regions.groupby("layer")[column].sum()
    return float(by_layer[: first_few(len(by_layer))].sum() / by_layer.sum())
