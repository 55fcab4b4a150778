"""The matrix of deactivation under the reader's hand: every cell with its interval, in the unit and beside what one wishes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.report.page import Section, blocks, json_block, section
from lf_experiments.report.table import heading
from lf_experiments.runs.cells import AGAINST, COLUMNS, NATS, bits_per_byte, cells
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import increase_text

INTRODUCTION = (
    "What each language (row) loses without the key region of a language (column, ×): how much worse the model predicts its "
    "text. The region of a language should cost that language most: the cells in bold. The stronger the colour, the more is "
    "lost; blue is a gain. Point at a cell, or choose it with the arrow keys, for its interval. In italics are cells whose "
    "interval includes no change: they are undecided."
)
CONTROL = (
    " Beside random neurons a cell tells how much more the region costs than random neurons that are as many and as strong."
)


def matrix(run: Run) -> Section | None:
    """The matrix with its numbers; None where nothing was switched off."""
    table = cells(run)
    if table is None:
        return None
    languages, deactivated = list(table["language"].unique()), list(table["deactivated"].unique())
    wide = {name: table.pivot(index="language", columns="deactivated", values=name) for name in COLUMNS}
    wide = {name: of_name.reindex(index=languages, columns=deactivated) for name, of_name in wide.items()}
    percent = 100 * np.expm1(wide[NATS])
    rows = [
        (language_name(code), [(increase_text(percent.loc[code, off], "%"), code == off) for off in deactivated])
        for code in languages
    ]
    content = {
        "languages": list(map(language_name, languages)),
        "off": [heading(off) for off in deactivated],
        "bits": bits_per_byte(run.perplexity)[languages].tolist(),
        **{name: [numbers(row) for _, row in of_name.iterrows()] for name, of_name in wide.items()},
    }
    has_control = bool(wide[AGAINST].notna().any(axis=None))
    shown = blocks.matrix(list(map(heading, deactivated)), rows, has_control, json_block(content))
    text = INTRODUCTION + (CONTROL if has_control else "")
    return section("matrix", "What is lost without a region", blocks.soft(text), shown)


def numbers(values: pd.Series) -> Iterable[float | None]:
    """Numbers with as many digits as are shown; None for one that is missing or without bounds."""
    return [round(float(value), 6) if math.isfinite(value) else None for value in values]
