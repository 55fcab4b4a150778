"""How far the numbers of a run can be trusted: intervals, shuffled labels, halves and baselines, in plain sentences."""

from __future__ import annotations

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.report.numbers import number_text
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import plain_table
from lf_experiments.runs.metrics import Metrics
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import LRDS, SADS, SCORES, SKLR, SKLR_NULL
from lf_experiments.runs.text import count_of, share_text

FEW = 20
"""Meanings below which intervals are rough."""
BASELINES = {"tokens": "Tokens alone", "random_weights": "Random weights"}
WITHOUT_LEARNING = (
    "What the scores are without any learning, on the same sentences: of the token ids alone, in any order, and of the same "
    "model with random weights. Where the interval of a difference holds 0, nothing shows that the model has learnt it."
)
REPLICATION = (
    "The sentences were split into two halves, again and again, and the regions of both compared. Overlap is what they share "
    "(1: the same neurons), stability the same less what chance gives (0: chance). Of a region the share of neurons that truly "
    "belong to the language is estimated at its precision; of the neurons that both halves select, at that of the last column."
)


def notes(run: Run) -> list[str]:
    """What the intervals, the shuffled labels and the halves say of the main numbers, a sentence each."""
    metrics = run.metrics
    found = (interval_note(run), *(shuffle_note(metrics, score.key, score.title) for score in (LRDS, SADS)), null_note(metrics))
    return [note for note in found if note]


def interval_note(run: Run) -> str | None:
    """What stands in brackets."""
    metrics = run.metrics
    if metrics.interval(LRDS.key) is None:
        return None
    level = run.record["config"].get("uncertainty", {}).get("level") if run.record else None
    sure = f" with a probability of {level:.0%}" if level else ""
    meanings = metrics.sentences_per_language
    few = f" {meanings} meanings are few: below {FEW} intervals are rough." if meanings < FEW else ""
    return (
        "In brackets behind a score is its interval: where it would lie with other sentences of the same kind, in the same "
        f"languages{sure}.{few}"
    )


def shuffle_note(metrics: Metrics, key: str, title: str) -> str | None:
    """How often a score is as large by chance."""
    p = metrics.p_value(key)
    if p is None:
        return None
    shuffled = "languages" if key == LRDS.key else "meanings"
    verdict = "more than chance" if p <= 0.05 else "no more than chance may give"
    return f"{title} is {verdict}: with the {shuffled} of the sentences shuffled it is as large with probability {p:.2g}."


def null_note(metrics: Metrics) -> str | None:
    """How many neurons are key by chance."""
    sklr, null, p = metrics[SKLR.key], metrics[SKLR_NULL.key], metrics.p_value(SKLR.key)
    if not sklr or null is None or p is None:
        return None
    floor = metrics["sklr_floor"]
    noise = "" if floor is None else f" Noise alone makes {share_text(floor)} of all neurons key."
    inside = " SKLR lies within what shuffled languages give: the rule finds no more than chance here." if p > 0.05 else ""
    return (
        f"The rule for key neurons also finds some where there is nothing: with the languages shuffled "
        f"{number_text(SKLR_NULL, null, metrics.interval(SKLR_NULL.key))} neurons are key, and {count_of(sklr)} with the true "
        f"ones.{inside}{noise}"
    )


def baselines(run: Run) -> Section | None:
    """The scores of the baselines beside those of the model."""
    if run.baselines is None or run.metrics is None:
        return None
    table = run.baselines.set_index(["score", "baseline"])
    scores = [score for score in SCORES if score.key in table.index.get_level_values("score")]
    columns = {"Score": [score.title for score in scores], "Model": []}
    for score in scores:
        columns["Model"].append(number_text(score, run.metrics[score.key], run.metrics.interval(score.key)))
        for name in table.loc[score.key].index:
            row, title = table.loc[(score.key, name)], BASELINES.get(name, name)
            columns.setdefault(title, []).append(number_text(score, row["value"], (row["lo"], row["hi"])))
            difference = number_text(score, row["difference"], (row["difference_lo"], row["difference_hi"]))
            columns.setdefault(f"Model less {title.lower()}", []).append(difference)
    text = plain_table(pd.DataFrame(columns))
    return section("baselines", "Without learning", blocks.soft(WITHOUT_LEARNING), blocks.table(text))


def replication(run: Run) -> Section | None:
    """Whether the regions are found again."""
    if run.stability is None or run.stability.empty:
        return None
    table = run.stability
    columns = {
        "Language": table["language"].map(language_name),
        "Key neurons": table["size"].map("{:,}".format),
        "Overlap": table["dice"].map("{:.2f}".format),
        "Stability": (table["stability"].round(2) + 0.0).map("{:.2f}".format),
        "Precision": table["precision"].map(share_text),
        "Precision, selected by both": table["precision_replicated"].map(share_text),
    }
    if run.regions is not None and "replicated" in run.regions:
        again = run.regions.groupby("language", sort=False)["replicated"].sum()
        columns["Selected by 90 % of the halves"] = table["language"].map(again).map("{:,.0f}".format)
    text = plain_table(pd.DataFrame(columns))
    return section("replication", "Are the regions found again?", blocks.soft(REPLICATION), blocks.table(text))
