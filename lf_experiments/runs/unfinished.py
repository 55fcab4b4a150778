"""The rows of a stage that lasts long, kept while it lasts, so that none is computed again after an interruption."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from lf_experiments.storage import append_line

log = logging.getLogger(__name__)


class Unfinished:
    """The part of a table that is there so far, in a hidden file of the run folder: a line for the rows of each cell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: list[dict[str, Any]] = kept_rows(path)

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep the rows of one more cell."""
        append_line(self.path, json.dumps(rows, ensure_ascii=False, allow_nan=False))


def kept_rows(path: Path) -> list[dict[str, Any]]:
    """The rows kept in a file, in their order; none where there is no file.

    A line that was being written when the process was killed is cut off. So is everything from a damaged line on, which a
    warning says.
    """
    if not path.is_file():
        return []
    whole, end, _ = path.read_bytes().rpartition(b"\n")
    kept, length = [], 0
    for line in (whole + end).splitlines(keepends=True):
        rows = rows_in(line)
        if rows is None:
            log.warning("%s is damaged: what an interrupted run had left there is computed again from there on", path)
            break
        kept += rows
        length += len(line)
    os.truncate(path, length)
    return kept


def rows_in(line: bytes) -> list[dict[str, Any]] | None:
    """The rows that a line holds; None where it holds something else."""
    try:
        rows = json.loads(line)
    except ValueError:
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None
