"""The points of a curve beside their neighbours: how much each score changes from a checkpoint, or a model, to the next.

Neighbours read the same sentences, and are compared in pairs (`paired.py`): what is odd about a sentence is odd in both. The
intervals are over sentences, for these checkpoints of this training.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pandas as pd

from lf_experiments.intervals import Effect, holm
from lf_experiments.runs.paired import change, level_of
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES, Score
from lf_experiments.runs.side_by_side import difference
from lf_experiments.runs.sweep import Sweep

SIZE = "num_parameters"
"""What scale is drawn against."""
COLUMNS = ("curve", "along", "score", "from", "to", "first", "second", "difference", "lo", "hi", "p", "p_holm")

FOLLOWED = tuple(score for score in SCORES if score.topic or any(score.key == other.excess for other in SCORES if other.topic))
"""The scores that are drawn along a curve."""


def neighbours(sweep: Sweep) -> pd.DataFrame:
    """A row for every score and every two neighbours of a curve over training, or over the sizes of a family.

    Columns: `curve` (the line or the family), `along` (`training_step`, `training_tokens` or `num_parameters`), `score`, `from`
    and `to` (the two points), `first` and `second` (the score there), `difference` (second less first) with the ends of its
    interval, `p`, and `p_holm`, adjusted for all neighbours on the same curve (Holm). Points that share their weights with
    another are left out; scores that have no interval have a difference alone.
    """
    curves = [(name, sweep.x, line) for name, line in sweep.lines().items()]
    curves += [(name, SIZE, models.drop_duplicates("model")) for name, models in sweep.families.items()]
    rows = [
        {"curve": name, "along": along, **row}
        for name, along, line in curves
        for score in FOLLOWED
        for row in along_curve(line, along, score)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def along_curve(line: pd.DataFrame, along: str, score: Score) -> list[dict]:
    """The changes of a score between the neighbours of a curve, in its order."""
    points = line[line[score.column].notna() & ~line["duplicated"]]
    changes = [(start, end, change_of(start[0], end[0], score)) for start, end in pairwise(points[along].items())]
    adjusted = holm([effect.p_value() for *_, effect in changes])
    return [
        {
            "score": score.key,
            "from": int(place),
            "to": int(next_place),
            "first": run.metrics.value(score),
            "second": next_run.metrics.value(score),
            **difference(effect, level_of(next_run)),
            "p": effect.p_value(),
            "p_holm": p_holm,
        }
        for ((run, place), (next_run, next_place), effect), p_holm in zip(changes, adjusted, strict=True)
    ]


def change_of(run: Run, next_run: Run, score: Score) -> Effect:
    """How much a score changes; without an error where it has no interval."""
    return change(run, next_run, score) or Effect(next_run.metrics.value(score) - run.metrics.value(score), math.nan, 0)
