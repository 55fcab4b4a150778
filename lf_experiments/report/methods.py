"""Methods beside each other: the table of each comparison, and what it says in plain sentences."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from lf_experiments.report.numbers import column_texts
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import plain_table
from lf_experiments.runs.methods import GAIN, REFERENCE, Compared
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.scores import SELECTIVITY
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import score_text

INTRODUCTION = (
    "Every method found a region for each language on the same sentences; the regions were switched off, and what that costs "
    "was measured on the same text. Own and others: the rise of the loss in the language of the region and in the other "
    "languages, in nats per token; selectivity is the one less the other. Less zscore: the selectivity less that of the "
    "paper's method, paired over windows of text. Overlap: of the regions of two halves of the meanings (Dice). Agreement with "
    "zscore: the neurons of either region that are in both (Jaccard), and the rank correlation of all neurons. Means over "
    "languages."
)
NATS = {
    "own_effect": "Own",
    "spill_over": "Others",
    "selectivity": "Selectivity",
    GAIN: f"Less {REFERENCE}",
    "against_control": "Beside random neurons",
}
"""{column of `methods.csv` in nats per token: its heading}"""
NUMBERS = {
    "dice": ("Overlap", "{:.2f}"),
    f"jaccard_{REFERENCE}": (f"Jaccard with {REFERENCE}", "{:.2f}"),
    f"rank_correlation_{REFERENCE}": (f"Rank correlation with {REFERENCE}", "{:.2f}"),
    "seconds": ("Seconds", "{:.1f}"),
}


def methods(sweep: Sweep) -> Section | None:
    """Every comparison of the sweep, its sentences and its table."""
    parts = [block for found in sweep.comparisons for block in compared_blocks(found)]
    return section("methods", "Methods", blocks.soft(INTRODUCTION), *parts) if parts else None


def compared_blocks(found: Compared) -> list[Markup]:
    """One comparison."""
    table = plain_table(texts(found.table))
    return [blocks.heading(found.title), blocks.listing(sentences(found), "notes"), blocks.table(table)]


def texts(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `methods.csv` as text, most selective first; columns in which nothing was measured are left out."""
    table = table.sort_values("selectivity", ascending=False, ignore_index=True)
    columns = {
        "Method": list(table["method"]),
        "Neurons per language": [f"{value:,.0f}" for value in table["neurons_per_language"]],
        **{title: column_texts(table, SELECTIVITY, key) for key, title in NATS.items()},
        **{title: ["–" if pd.isna(x) else form.format(x) for x in table[key]] for key, (title, form) in NUMBERS.items()},
    }
    return pd.DataFrame({title: values for title, values in columns.items() if set(values) != {"–"}})


def sentences(found: Compared) -> list[str]:
    """Which method is the most selective, which are more so than the paper's beyond doubt, and what was read."""
    table, told = found.table.set_index("method"), []
    if table["selectivity"].notna().any():
        best = table["selectivity"].idxmax()
        told.append(f"Most selective are the regions of {best}: {score_text(table.loc[best, 'selectivity'])} nats per token.")
    if (shared := table["spill_over"] > table["own_effect"] / 2).any():
        told.append(
            f"Without the regions of {', '.join(table.index[shared])} other languages lose more than half of what their own "
            "does: these hold neurons that all languages need."
        )
    if table[GAIN + LOW].notna().any():
        low, high = (table.drop(REFERENCE)[GAIN + end] for end in (LOW, HIGH))
        verdicts = {"More selective than": low > 0, "Less selective than": high < 0}
        told += [
            f"{verdict} those of {REFERENCE}, with an interval that leaves out 0: {', '.join(which.index[which])}."
            for verdict, which in verdicts.items()
            if which.any()
        ]
        if (undecided := (low <= 0) & (high >= 0)).any():
            told.append(f"Undecided: {', '.join(undecided.index[undecided])}.")
    if (next(iter(found.runs.values())).record["config"].get("text") or {}).get("held_out"):
        told.append("No document of the text holds one of the sentences that the regions were found on.")
    return told
