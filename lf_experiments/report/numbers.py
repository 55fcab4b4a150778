"""The scores of runs as text: every number with its interval beside it wherever it has one."""

from __future__ import annotations

import pandas as pd

from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import plain_table
from lf_experiments.runs.derived import key_neurons_by_layer
from lf_experiments.runs.metrics import HIGH, LOW, Metrics
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import NULLS, SCORES, Score


def number_text(score: Score, value: float, interval: tuple[float, float] | None = None) -> str:
    """A score and its interval, as in 0.394 (0.388, 0.400); a dash where it is missing."""
    if pd.isna(value):
        return "–"
    if interval is None or pd.isna(interval[0]):
        return score.text(value)
    return f"{score.text(value)} ({score.text(interval[0])}, {score.text(interval[1])})"


def column_texts(table: pd.DataFrame, score: Score, column: str) -> list[str]:
    """The column of a score in a table as text, with its intervals where `<column>_lo` and `<column>_hi` are there."""
    if column + LOW not in table:
        return [number_text(score, value) for value in table[column]]
    rows = zip(table[column], table[column + LOW], table[column + HIGH], strict=True)
    return [number_text(score, value, (low, high)) for value, low, high in rows]


def score_rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Name, value and meaning of every score that was measured; a null stands beside the score whose null it is."""
    return [
        (
            score.title,
            number_text(score, value, metrics.interval(score.column)) + null_text(score, metrics),
            meaning_text(score),
        )
        for score in SCORES
        if score.key not in NULLS and (value := metrics.value(score)) is not None
    ]


def null_text(score: Score, metrics: Metrics) -> str:
    """What a score is under shuffled labels, behind it; nothing where that is not known."""
    value = metrics[score.null] if score.null else None
    return "" if value is None else f", shuffled {score.text(value)}"


def meaning_text(score: Score) -> str:
    """What a score means, of what it is the mean, and what guessing gives."""
    mean = ", mean over languages" if score.by_language else ""
    chance = "" if score.chance is None else f"; guessing: {score.text(score.chance)}"
    return score.meaning + mean + chance


def main_numbers(run: Run, notes: list[str]) -> Section | None:
    """The scores of a run, and what to bear in mind with them."""
    rows = score_rows(run.metrics) if run.metrics else []
    return section("numbers", "Main numbers", blocks.words(rows), blocks.listing(notes, "notes")) if rows else None


def layers(run: Run) -> Section | None:
    """The scores of every layer, and its key neurons where regions were probed."""
    if run.layers is None:
        return None
    scores = [score for score in SCORES if score.by_layer and score.key in run.layers]
    columns = {score.title: column_texts(run.layers, score, score.key) for score in scores}
    text = pd.DataFrame({"Layer": run.layers["layer"], **columns})
    if run.regions is not None:
        text["Key neurons"] = text["Layer"].map(key_neurons_by_layer(run.regions)).map("{:,}".format)
    return section("layers", "Layers", blocks.table(plain_table(text)))
