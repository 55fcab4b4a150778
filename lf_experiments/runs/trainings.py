"""Several trainings of the same grown model: what another training would have given, which no interval over sentences tells."""

from __future__ import annotations

import math

import pandas as pd

from lf_experiments.intervals import Effect
from lf_experiments.runs.paired import level_of
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES, Score
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.variants import SEED_OF_TRAINING

LAST_LESS_FIRST = "last less first"
"""The row that has the change over a training."""


def trainings(sweep: Sweep) -> dict[str, list[pd.DataFrame]]:
    """{model and variant: its lines over the training steps, one for each seed of the training}, where there are several."""
    found: dict[str, list[pd.DataFrame]] = {}
    for name, line in sweep.lines("training_step").items():
        found.setdefault(without_seed(name), []).append(line)
    return {name: lines for name, lines in found.items() if len({seed_of(line.index[0]) for line in lines}) > 1}


def without_seed(name: str) -> str:
    """The name of a line without the seed of its training."""
    return ", ".join(part for part in name.split(", ") if not part.startswith(f"{SEED_OF_TRAINING}="))


def seed_of(run: Run) -> int | None:
    """The seed that the model of a run was trained with."""
    recipe = run.record["config"]["model"].get("recipe") or {}
    return recipe.get("seed")


def shown_scores(lines: list[pd.DataFrame]) -> list[Score]:
    """The scores that are drawn over training and that these lines have."""
    return [score for score in SCORES if score.topic and all(line[score.column].notna().any() for line in lines)]


def over_trainings(lines: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean of every score over the trainings at each step that all have, and how it changes from the first to the last.

    Columns: `training_step` (the last row says `last less first`), and for each score its column, `_sd`, `_lo` and `_hi`: the
    spread between trainings, and the interval of their mean (Student's t over trainings).
    """
    steps = sorted(set.intersection(*(set(line["training_step"].astype(int)) for line in lines)))
    level = level_of(lines[0].index[0])
    by_step = [line.drop_duplicates("training_step").set_index("training_step") for line in lines]
    rows: list[dict] = [{"training_step": step} for step in steps] + [{"training_step": LAST_LESS_FIRST}]
    for score in shown_scores(lines):
        values = pd.DataFrame([line.loc[steps, score.column].astype(float) for line in by_step])
        values = pd.concat([values, values[steps[-1]] - values[steps[0]]], axis=1)
        for row, (_, of_step) in zip(rows, values.items(), strict=True):
            low, high = mean_over(of_step).interval(level)
            row |= {score.column: of_step.mean(), f"{score.column}_sd": of_step.std(ddof=1)}
            row |= {f"{score.column}_lo": low, f"{score.column}_hi": high}
    return pd.DataFrame(rows)


def mean_over(values: pd.Series) -> Effect:
    """The mean of a score over trainings."""
    return Effect(values.mean(), values.std(ddof=1) / math.sqrt(len(values)), len(values) - 1)
