"""Cross-lingual story cloze: a story in some language, two endings in English, the likelier one wins (sec. 4.1, app. B).

The endings are scored by the harness the paper used, lm_eval, on the model as it is loaded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lf_experiments.corpora.story import Story
from lf_experiments.evaluations.beginnings import reading_of
from lf_experiments.evaluations.cells import IDENTITY, Cell, KeptCells, Row
from lf_experiments.evaluations.cloze_task import harness_samples, lengths
from lf_experiments.evaluations.finite import refuse_infinite
from lf_experiments.evaluations.matrix import SIDE_BY_SIDE, matrix, read_cells
from lf_experiments.evaluations.reading import Reading
from lf_experiments.intervals import Effect, combined
from lf_experiments.measures.uncertainty.stories import (
    guessing_p_value,
    mcnemar_p_value,
    mean_over_languages,
    paired_difference,
    wilson_interval,
)
from lf_experiments.models.batches import warn_of_long_sequences
from lf_experiments.models.load import Reader, Results
from lf_experiments.neurons.interventions import NONE, Intervention, Treated

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """How the endings of one story compare."""

    right: bool
    """Whether the right ending is the likelier one; of equal ones the first counts as that."""
    margin: float
    """Log-likelihood of the right ending less that of the wrong one, in nats."""


@dataclass(frozen=True)
class Cloze:
    """The outcomes of one or more stories."""

    outcomes: list[Outcome]

    @property
    def accuracy(self) -> float:
        """How often the right ending is the likelier one."""
        return sum(outcome.right for outcome in self.outcomes) / self.items

    @property
    def stderr(self) -> float | None:
        """Standard error of the accuracy, sqrt(p (1 - p) / (n - 1)); None for a single story."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / (self.items - 1)) if self.items > 1 else None

    @property
    def items(self) -> int:
        """Stories."""
        return len(self.outcomes)


def measure_cloze(
    reader: Reader,
    interventions: list[Intervention],
    stories: dict[str, list[Story]],
    batch_tokens: int,
    kept: KeptCells,
) -> pd.DataFrame:
    """Read the stories of every language under every intervention: the cells for `cloze_table` and `story_table`.

    `kept` as in `matrix`. Raises `InputError` for logits that are not finite.
    """
    tokens = {language: lengths(reader, told) for language, told in stories.items()}
    warn_of_lengths(reader, stories, tokens, batch_tokens)
    sizes = {language: sum(of_language) for language, of_language in tokens.items()}
    reading, most = reading_of(reader, batch_tokens), SIDE_BY_SIDE * batch_tokens

    def evaluate(cells: list[Cell]) -> Iterator[list[Row]]:
        for cell, outcomes in read_cells(reader, cells, stories, sizes, most, judge, reading):
            found = Cloze(outcomes)
            right, margin = map(list, zip(*outcomes, strict=True))
            refuse_infinite(all(map(math.isfinite, margin)), f"the stories in {cell.language}", cell.under)
            row = {"accuracy": found.accuracy, "stderr": found.stderr, "items": found.items}
            yield [row | {"right_by_story": right, "margin_by_story": margin}]

    return matrix("story cloze", evaluate, interventions, list(stories), kept)


def cloze_table(cells: pd.DataFrame, level: float | None) -> pd.DataFrame:
    """The content of `cloze.csv`; without a level there are neither intervals nor p values.

    Beside the accuracy its interval (Wilson) and how likely guessing does as well; beside the mean margin, in nats, and under
    an intervention, how both change on the same stories, with paired intervals, and whether outcomes change (McNemar).
    """
    full = {cell["language"]: cell for cell in cells.to_dict("records") if cell["deactivated"] == NONE}
    found = pd.DataFrame([uncertainty(cell, full[cell["language"]], level) for cell in cells.to_dict("records")], cells.index)
    return pd.concat([cells[[*IDENTITY, "accuracy", "stderr", "items"]], found], axis=1)


def uncertainty(cell: Row, full: Row, level: float | None) -> Row:
    """The columns of `cloze.csv` after the accuracy of a cell, beside that of the full model."""
    right_I, margin_I = np.array(cell["right_by_story"], int), np.array(cell["margin_by_story"])
    changes = {
        "difference": paired_difference(np.array(full["right_by_story"], int), right_I),
        "margin_difference": paired_difference(np.array(full["margin_by_story"]), margin_I),
    }
    low, high = wilson_interval(int(right_I.sum()), len(right_I), level) if level else (math.nan, math.nan)
    row = {"lo": low, "hi": high, "chance_p": guessing_p_value(int(right_I.sum()), len(right_I)) if level else math.nan}
    row["margin"] = float(margin_I.mean())
    for name, change in changes.items() if cell["deactivated"] != NONE else ():
        low, high = change.interval(level) if level else (math.nan, math.nan)
        row |= {name: change.value, f"{name}_lo": low, f"{name}_hi": high}
        if level and name == "difference":
            row["difference_p"] = mcnemar_p_value(np.array(full["right_by_story"], int), right_I)
    return row


def mean_accuracy(stories: pd.DataFrame) -> Effect:
    """The mean accuracy of the full model over languages, from `cloze_stories.parquet`.

    Stories are told in all languages: each is one observation. Where languages have stories of their own they are taken to be
    independent.
    """
    of_full = stories[stories["deactivated"] == NONE]
    right = of_full.pivot(index="story", columns="language", values="right")
    if not right.isna().any(axis=None):
        return mean_over_languages(right.to_numpy(float).T)
    alone = [column.dropna().to_numpy(float) for _, column in right.items()]
    return combined([(1 / len(alone), paired_difference(np.zeros(len(right_I)), right_I)) for right_I in alone])


def story_table(cells: pd.DataFrame, stories: dict[str, list[Story]]) -> pd.DataFrame:
    """The content of `cloze_stories.parquet`: a row per story and cell, stories by the name that their translations share."""
    rows = [
        {**{name: cell[name] for name in IDENTITY}, "story": story.name, "right": right, "margin": margin}
        for cell in cells.to_dict("records")
        for story, right, margin in zip(stories[cell["language"]], cell["right_by_story"], cell["margin_by_story"], strict=True)
    ]
    return pd.DataFrame(rows)


def warn_of_lengths(
    reader: Reader, stories: dict[str, list[Story]], by_language: dict[str, list[int]], batch_tokens: int
) -> None:
    """Warn of stories that are cut from the left, since the model does not read so much at once, and of long ones.

    `by_language` has the tokens of every story with each of its endings.
    """
    told = [story for of_language in stories.values() for story in of_language]
    tokens = [length for of_language in by_language.values() for length in of_language]
    too_long = sum(length > reader.context for length in tokens) if reader.context else 0
    if too_long:
        log.warning(
            "%d of %d stories, each with one ending, are longer than the %d tokens the model reads: their first words are cut",
            too_long,
            len(tokens),
            reader.context,
        )
    read = [min(length, reader.context or length) for length in tokens]
    warn_of_long_sequences("story", read, batch_tokens, lambda row: f"Story {told[row // 2].name}")


def judge(reader: Reader, stories: list[Treated], reading: Reading) -> Results:
    """Yields the position of each story and its outcome under its intervention."""
    for sample in harness_samples(reader, stories, reading) if stories else ():
        position, likelihoods = sample["doc_id"], [likelihood for likelihood, _ in sample["filtered_resps"]]
        right = stories[position].item.right
        yield position, Outcome(bool(sample["acc"]), likelihoods[right] - likelihoods[1 - right])
