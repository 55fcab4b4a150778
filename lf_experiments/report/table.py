"""A table of a page: cells of text, rows that can be sorted, and rows that stay below."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pandas as pd
from markupsafe import Markup

from lf_experiments.languages import language_name
from lf_experiments.runs.derived import MATCHED, NOTHING, RANDOM

WITHOUT = "× {}"
"""How a column is headed in which the region of a language is switched off."""
FULL_MODEL, RANDOM_NEURONS, MATCHED_NEURONS = "Full model", "Random neurons", "Matched random neurons"


@dataclass(frozen=True)
class Table:
    """A table to read and to sort. Cells are text, or markup where one stands out."""

    columns: list[str]
    groups: list[list[list[str]]]
    """Rows that stay together when the table is sorted; the first cell is that of the whole group."""
    foot: list[list[str]] = field(default_factory=list)
    """Rows that stay below."""


def plain_table(frame: pd.DataFrame, foot: int = 0) -> Table:
    """A table whose rows are sorted one by one, but for the last `foot` of them."""
    rows = frame.to_numpy().tolist()
    body = len(rows) - foot
    return Table(list(frame), [[row] for row in rows[:body]], rows[body:])


def heading(deactivated: str) -> str:
    """What is switched off, as the head of a column or a row."""
    names = {NOTHING: FULL_MODEL, RANDOM: RANDOM_NEURONS, MATCHED: MATCHED_NEURONS}
    return names.get(deactivated) or WITHOUT.format(language_name(deactivated))


def with_strong_diagonal(table: Table) -> Table:
    """A table in which the cells of a language without its own key region stand out."""

    def marked(row: list[str]) -> list[str]:
        own = WITHOUT.format(row[0])
        pairs = zip(table.columns, row, strict=True)
        return [Markup("<b>{}</b>").format(cell) if name == own else cell for name, cell in pairs]

    return replace(table, groups=[[marked(row) for row in group] for group in table.groups])
