"""The cells of an evaluation, and where those are that were evaluated before: in the run folder, and in the cache of all runs.

A cell is one language under one intervention. It has one row or several; what an evaluation finds is in the columns after those
that identify it.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from lf_experiments.neurons.interventions import Intervention
from lf_experiments.storage import append_line, fingerprint, mark_used

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""A row of a table: numbers, texts, or lists of them, all of which JSON can hold."""

IDENTITY = ("deactivated", "draw", "matches", "dose", "language")
"""The columns that identify a cell."""


class Cell(NamedTuple):
    """One language under one intervention."""

    under: Intervention
    language: str

    def identity(self, column: str) -> Row:
        """The columns that identify it, the last under the name `column`: it may be something else than a language."""
        under = self.under
        values = (under.name, under.draw, under.matches, under.dose, self.language)
        return dict(zip((*IDENTITY[:-1], column), values, strict=True))


class CellCache:
    """Cells that runs with the same cache have evaluated, by what they are made of.

    A file stands for a model, for what is read in a language, and for how; a line of it for what is done to which neurons, by
    whatever name. So the full model is read once for all runs, and a region once for all that find the same neurons. What an
    edit of one's own does may change, and is not kept.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        """`files` are the file of each language, which need not be there."""
        self.files = dict(files)
        self.lines: dict[str, dict[str, list[Row]]] = {}
        """By language, the rows of each intervention, once read."""

    def find(self, cell: Cell) -> list[Row] | None:
        """The rows of a cell, without the columns that identify it; None where it is not kept."""
        file = self.file_of(cell)
        if file is None:
            return None
        if cell.language not in self.lines:
            self.lines[cell.language] = kept_lines(file)
        return self.lines[cell.language].get(cell.under.content)

    def add(self, cell: Cell, rows: list[Row]) -> None:
        """Keep the rows of a cell. Where that cannot be, a warning says so, and nothing is kept from then on."""
        file, kept = self.file_of(cell), [cell.under.content, rows]
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            append_line(file, json.dumps([fingerprint(kept), *kept], ensure_ascii=False, allow_nan=False))
        except OSError as error:
            problem = error.strerror or str(error)
            log.warning("evaluated cells cannot be kept in %s (%s): going on without (cache.dir)", file.parent, problem)
            self.files = {}

    def file_of(self, cell: Cell) -> Path | None:
        """The file that has the cell, or may get it; None for one that is not kept."""
        return self.files.get(cell.language) if cell.under.content else None


def cell_file(folder: Path, read: Iterable[Any], *how: Any) -> Path:
    """The file of the cache with the cells of what is read, and how; the folder stands for all else they depend on."""
    items = [item if isinstance(item, str) else asdict(item) for item in read]
    return folder / f"{fingerprint([items, how])}.jsonl"


def kept_lines(file: Path) -> dict[str, list[Row]]:
    """The rows in a file of the cache, by the content of the intervention; none where there is no such file.

    Other processes may be writing to it. A line that is not whole, or not as it was written, is left out, with a warning.
    """
    found, damaged = {}, 0
    try:
        lines = file.read_bytes().splitlines()
        mark_used(file)
    except OSError:
        return {}
    for line in lines:
        try:
            check, content, rows = json.loads(line)
            if check != fingerprint([content, rows]):
                raise ValueError
        except (ValueError, TypeError):
            damaged += 1
            continue
        found[content] = rows
    if damaged:
        log.warning("%d of the cells kept in %s are damaged: evaluating them again", damaged, file)
    return found


class KeptCells:
    """The cells that need not be evaluated again, and the place for those that are evaluated now.

    `column` is that of `Cell.identity`.
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        keep: Callable[[list[Row]], None] = lambda _: None,
        cache: CellCache | None = None,
    ) -> None:
        """`rows` are what an interrupted run has left; `keep` is given those of each new cell. A cache is of all runs."""
        self._rows = list(rows)
        self._keep = keep
        self._cache = cache or CellCache({})
        self._left: dict[tuple[Any, ...], list[Row]] | None = None

    def find(self, cell: Cell, column: str) -> list[Row] | None:
        """The rows of a cell; None where it is to be evaluated."""
        identity = cell.identity(column)
        if self._left is None:
            self._left = defaultdict(list)
            for row in self._rows:
                self._left[tuple(row[name] for name in identity)].append(row)
        left = self._left.get(tuple(identity.values()))
        kept = self._cache.find(cell) if left is None else None
        return left if kept is None else [identity | row for row in kept]

    def add(self, cell: Cell, found: list[Row], column: str) -> list[Row]:
        """Keep what was found for a cell; returns its rows."""
        rows = [cell.identity(column) | row for row in found]
        self._keep(rows)
        self._cache.add(cell, found)
        return rows
