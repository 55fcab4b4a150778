"""The one loop of every evaluation: every language under every intervention, resumable cell by cell.

A control that matches the region of a language (`matches`) has a cell for that language alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pandas as pd
from tqdm import tqdm

from lf_experiments.evaluations.cells import IDENTITY, Cell, KeptCells, Row
from lf_experiments.models.load import Reader, Results
from lf_experiments.neurons.interventions import Intervention, Treated

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 4
"""Cells are read together up to so many full batches: the last of them, partly filled, counts little then, and a run that is
killed loses no more."""

Evaluate = Callable[[list[Cell]], Iterator[list[Row]]]
"""Is given the cells still to do; yields the rows of each, in their order, as soon as they are known."""


def matrix(
    title: str,
    evaluate: Evaluate,
    interventions: list[Intervention],
    languages: list[str],
    kept: KeptCells,
    column: str = IDENTITY[-1],
) -> pd.DataFrame:
    """The rows of every cell: the columns that identify it, then those of `evaluate`, which is not given what is `kept`.

    `column` is the name of the last identifying column, for an evaluation of other things than languages.
    """
    asked = [Cell(under, language) for under in interventions for language in asked_under(under, languages)]
    found = {number: rows for number, cell in enumerate(asked) if (rows := kept.find(cell, column)) is not None}
    missing = [number for number in range(len(asked)) if number not in found]
    if found:
        log.info("%s: %d of %d cells were evaluated before", title, len(found), len(asked))
    with tqdm(total=len(asked), initial=len(found), desc=title, unit="cell", mininterval=1.0) as progress:
        for number, new in zip(missing, evaluate([asked[number] for number in missing]), strict=True):
            found[number] = kept.add(asked[number], new, column)
            progress.update()
    return pd.DataFrame([row for number in range(len(asked)) for row in found[number]])


def read_cells(
    reader: Reader,
    cells: Sequence[Cell],
    items: Mapping[str, list[Any]],
    sizes: Mapping[str, int],
    most: int,
    read: Callable[..., Results],
    *arguments: Any,
) -> Iterator[tuple[Cell, list[Any]]]:
    """Yields every cell with what `read(reader, rows, *arguments)` finds for the items of its language, in their order.

    The rows are `Treated`. Cells are read side by side, the items of all as rows of the same batches, as long as their sizes,
    by language, add up to no more than `most` for each process; one that is larger is read by itself.
    """
    for group in neighbours([sizes[cell.language] for cell in cells], most * reader.copies):
        together = [cells[number] for number in group]
        rows = [Treated(item, cell.under) for cell in together for item in items[cell.language]]
        found = dict(reader.share(read, rows, *arguments))
        in_order = iter([found[position] for position in range(len(rows))])
        for cell in together:
            yield cell, list(islice(in_order, len(items[cell.language])))


def neighbours(sizes: Sequence[int], most: int) -> list[list[int]]:
    """The positions of sizes in groups of neighbours, each of which adds up to at most `most`, or is one alone."""
    groups: list[list[int]] = []
    room = 0
    for position, size in enumerate(sizes):
        if not groups or size > room:
            groups.append([])
            room = most
        groups[-1].append(position)
        room -= size
    return groups


def asked_under(intervention: Intervention, languages: list[str]) -> list[str]:
    """The languages that are evaluated under an intervention: all, or the one whose region it matches."""
    return [language for language in languages if intervention.matches in ("", language)]
