"""Runs compared in pairs: what a score differs by between checkpoints or models that read the same sentences or stories.

Every meaning, and every story, has its influence on a score. Runs that read the same have influences on the same meanings: the
influence on a difference of their scores is the difference of the influences, and what all runs share cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from lf_experiments.intervals import Effect, combined, of_influences
from lf_experiments.runs.derived import NOTHING
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import CLOZE, Score

WHOLE_MODEL = -1
"""In the column `layer` of `influence.parquet`."""
LEVEL = 0.95
"""Of the intervals of a run that does not say."""


def level_of(run: Run) -> float:
    """The level of a run's intervals."""
    told = (run.record or {}).get("config", {}).get("uncertainty") or {}
    return told.get("level") or LEVEL


def influences(run: Run, score: Score, layer: int = WHOLE_MODEL) -> pd.Series | None:
    """The influence of every meaning, or of every story, on a score of a run; None where the run did not keep it.

    Sentences of one document are not independent: where meanings tell theirs, as in `line 7 of bbc.381790`, the influences
    are those of documents.
    """
    if score.key == CLOZE.key:
        return story_influences(run)
    table = run.influence
    if table is None or score.key not in table:
        return None
    rows = table[table["layer"] == layer]
    if rows.empty:
        return None
    contribution = rows.set_index("meaning")[score.key]
    influence = contribution - contribution.mean()
    document = influence.index.str.partition(" of ").get_level_values(2) if influence.index.str.contains(" of ").any() else None
    if document is None:
        return influence
    of_document = influence.groupby(np.where(document == "", influence.index, document), sort=False).sum()
    return of_document * len(of_document) / len(influence)


def story_influences(run: Run) -> pd.Series | None:
    """The influence of every story on the mean accuracy of the full model; None unless languages tell the same stories."""
    if run.cloze_stories is None:
        return None
    of_full = run.cloze_stories[run.cloze_stories["deactivated"] == NOTHING]
    right = of_full.pivot(index="story", columns="language", values="right")
    if right.isna().any(axis=None):
        return None
    mean = right.astype(float).mean(axis=1)
    return mean - mean.mean()


def contrast(runs: Sequence[Run], weights: Sequence[float], score: Score) -> Effect | None:
    """A weighted sum of a score over runs, paired where they read the same; None where a run has no interval at all.

    Runs of other sentences, or that kept no influences, are taken to be independent, which makes the interval wider.
    """
    value = math.fsum(weight * run.metrics.value(score) for weight, run in zip(weights, runs, strict=True))
    found = [influences(run, score) for run in runs]
    if are_paired(runs, score, found):
        return of_influences(value, weighted_sum(found, weights))
    alone = [effect_of(run, score) for run in runs]
    return None if None in alone else combined(zip(weights, alone, strict=True))


def contrast_of_layers(run: Run, score: Score, weights: np.ndarray) -> Effect | None:
    """A weighted sum of a score over the layers of a run; None where the run kept no influences."""
    found = [influences(run, score, layer) for layer in range(len(weights))]
    if any(one is None for one in found):
        return None
    return of_influences(float(weights @ run.layers[score.key].to_numpy(float)), weighted_sum(found, weights))


def weighted_sum(found: list[pd.Series], weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """The influences on a weighted sum, in the order of the first."""
    meanings = found[0].index
    return sum(weight * one.reindex(meanings).to_numpy(float) for weight, one in zip(weights, found, strict=True))


def are_paired(runs: Sequence[Run], score: Score, found: list[pd.Series | None]) -> bool:
    """Whether all runs kept influences of the same meanings of the same texts."""
    if any(one is None for one in found):
        return False
    corpus = "cloze" if score.key == CLOZE.key else "dataset"
    texts = {str(((run.record or {}).get("data") or {}).get(corpus)) for run in runs}
    return len(texts) == 1 and all(set(one.index) == set(found[0].index) for one in found)


def effect_of(run: Run, score: Score) -> Effect | None:
    """A score of a run with the error that its interval shows; None where it has none."""
    value, interval = run.metrics.value(score), run.metrics.interval(score.column)
    if value is None or interval is None:
        return None
    reach = float(stats.norm.ppf((1 + level_of(run)) / 2))
    return Effect(value, (interval[1] - interval[0]) / 2 / reach, math.inf)


def change(before: Run, after: Run, score: Score) -> Effect | None:
    """How much a score changes from one run to another."""
    return contrast([before, after], [-1.0, 1.0], score)


def slope(runs: Sequence[Run], places: Sequence[float], score: Score) -> Effect | None:
    """How much a score changes per e-fold of what `places` count: the slope of a straight line over their logarithms."""
    x = np.log(np.asarray(places, float))
    x = x - x.mean()
    return contrast(runs, list(x / np.square(x).sum()), score)
