"""The files that tables and records are kept in: CSV and JSON, read back as they were written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.storage import written_whole


def read_table(path: Path, texts: tuple[str, ...] = ()) -> pd.DataFrame:
    """A CSV file as it was written: an empty cell is a missing value, but words such as `None` or `nan` stay words.

    In the columns `texts`, as far as they are there, what looks like a number is text, and an empty cell an empty text.
    """
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts, str))
    return table.assign(**table[[name for name in texts if name in table]].fillna(""))


def write_csv(table: pd.DataFrame, path: Path, index: bool = False) -> None:
    """Write a table as CSV; a text with a carriage return, which a model may generate, stays in its cell.

    Before Python 3.13 the csv module left such a text without quotes, and reading ended the row there.
    """
    returns = any("\r" in cell for column in table for cell in table[column] if isinstance(cell, str))
    table.to_csv(path, index=index, quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole, as CSV or as Parquet: the suffix decides."""
    with written_whole(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            write_csv(table, temporary)


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
