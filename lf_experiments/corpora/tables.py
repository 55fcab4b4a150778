"""Tables of published corpora: parquet files, and files with one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet

from lf_experiments.corpora.language_files import lines, read_utf8
from lf_experiments.corpora.place import Place


def columns_of(place: Place, paths: list[Path], columns: list[str], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Columns of a table in one or more parquet files, and the `optional` ones that are there.

    Raises `InputError` for files of another kind and missing columns.
    """
    return pd.concat([columns_of_file(place, path, columns, optional) for path in paths], ignore_index=True)


def columns_of_file(place: Place, path: Path, columns: list[str], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Columns of one parquet file; missing text is empty."""
    try:
        held = parquet.read_schema(path).names
    except pyarrow.ArrowInvalid as error:
        raise place.error(f"{path} is no parquet file: {error}", "download it again") from error
    missing = [column for column in columns if column not in held]
    if missing:
        raise place.error(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(held)}", "use the corpus as it is published"
        )
    return pd.read_parquet(path, columns=[*columns, *(name for name in optional if name in held)]).fillna("")


def read_json_lines(place: Place, path: Path, fields: list[str], optional: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object per line, with these fields and the `optional` ones that are there.

    Raises `InputError` for other lines and for missing fields.
    """
    rows = []
    for number, line in enumerate(lines(read_utf8(place.group, path)), start=1):
        try:
            row = json.loads(line)
            rows.append({field: row[field] for field in (*fields, *(name for name in optional if name in row))})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            problem = f"line {number} of {path.name} is no JSON object with {', '.join(fields)}: {error}"
            raise place.error(problem, "use the corpus as it is published") from error
    return rows
