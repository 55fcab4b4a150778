"""Texts: what a model writes with and without its key regions, and what it read."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from lf_experiments.figures.table2_generations import measures_text
from lf_experiments.languages import language_name
from lf_experiments.report.losses import whole_model
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import heading
from lf_experiments.runs.derived import continuations
from lf_experiments.runs.run import Run

INTRODUCTION = Markup(
    "What the model writes after a sentence, taking the likeliest token each time: with all its neurons, and without the key "
    "region of each language (×; without its own region a language is tinted). <i>Script</i> is the share of the letters that "
    "are of the script of the language, <i>repeated</i> the share of runs of four tokens that stood there before. "
    "<mark>\N{REPLACEMENT CHARACTER}</mark> stands for bytes that are no character."
)


def generated_text(run: Run) -> Section | None:
    """What a run wrote, language by language."""
    texts = written(run)
    return section("text", "Generated text", blocks.soft(INTRODUCTION), *texts) if texts else None


def written(run: Run) -> list[Markup]:
    """A block per language: its sentences, and one row of texts for each deactivation; the first one is open."""
    if run.generations is None:
        return []
    languages = continuations(run.generations).groupby("language", sort=False)
    return [blocks.writing(of_language(code, rows), number == 0) for number, (code, rows) in enumerate(languages)]


def of_language(code: str, table: pd.DataFrame) -> dict[str, Any]:
    """The texts of one language."""
    whole, without = whole_model(table), table[table["deactivated"] == code]
    rows = [
        {
            "name": heading(deactivated),
            "is_own": deactivated == code,
            "texts": [(row["text"].strip(), measures_text(row)) for _, row in texts.iterrows()],
        }
        for deactivated, texts in table.groupby("deactivated", sort=False)
    ]
    return {
        "code": code,
        "name": language_name(code),
        "sentences": list(whole["prompt"]),
        "rows": rows,
        "change": f"{means_text(whole)} with all neurons; {means_text(without)} without its region",
    }


def means_text(table: pd.DataFrame) -> str:
    """The measures of several texts."""
    return measures_text(table[["script_share", "repetition"]].mean())


def a_sentence(run: Run) -> Section | None:
    """The first meaning in every language."""
    if run.samples is None:
        return None
    first = run.samples[run.samples["meaning"] == run.samples["meaning"].iloc[0]]
    rows = [(code, language_name(code), text) for code, text in zip(first["language"], first["text"], strict=True)]
    return section("sentence", "A sentence in every language", blocks.sentences(rows))
