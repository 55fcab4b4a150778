"""Two runs side by side: `python -m lf_experiments.compare RUN RUN` writes tables of their differences and one page.

The command has a file of its own, `compare.py`, which nobody imports: `lf_experiments.compare` is a function for Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lf_experiments.errors import InputError, exit_status
from lf_experiments.report import write_pair_report
from lf_experiments.runs.run import Run
from lf_experiments.runs.side_by_side import layer_changes, loss_changes, score_changes, shared_neurons
from lf_experiments.runs.tables import write_csv
from lf_experiments.storage import written_whole

FOLDER = Path("comparisons")
"""Where comparisons are written, below the working directory, unless `--out` says otherwise."""


def write_comparison(one: Run, other: Run, out: Path) -> dict[str, pd.DataFrame]:
    """Write `scores.csv`, `layers.csv`, `regions.csv`, `losses.csv` and `comparison.html` into `out`; returns the tables.

    What the two runs do not both have is left out. Raises `InputError` for a folder without the numbers of a run.
    """
    for run in (one, other):
        if run.metrics is None:
            raise InputError("RUN", run.folder, "it has no metrics.json", "give the folder of a run")
    found = {
        "scores": score_changes(one, other),
        "layers": layer_changes(one, other),
        "regions": shared_neurons(one, other),
        "losses": loss_changes(one, other),
    }
    tables = {name: table for name, table in found.items() if table is not None}
    out.mkdir(parents=True, exist_ok=True)
    for name in found:
        (out / f"{name}.csv").unlink(missing_ok=True)
    for name, table in tables.items():
        with written_whole(out / f"{name}.csv") as temporary:
            write_csv(table, temporary)
    write_pair_report(one, other, tables, out)
    return tables


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status is 1 where a folder is not that of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m lf_experiments.compare", description="Compare two runs: scores, layers, regions, losses."
    )
    parser.add_argument("first", metavar="RUN", type=Path, help="the folder of a run")
    parser.add_argument("second", metavar="RUN", type=Path, help="another one; differences are this one less the first")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help=f"where to write (default: {FOLDER}/FIRST-SECOND)")
    given = parser.parse_args(arguments)
    out = given.out or FOLDER / f"{given.first.resolve().name}-{given.second.resolve().name}"
    return exit_status(lambda: compare(Run(given.first), Run(given.second), out))


def compare(one: Run, other: Run, out: Path) -> int:
    """Write the comparison, and say where."""
    tables = write_comparison(one, other, out)
    print("\n".join(str(out / name) for name in [*(f"{name}.csv" for name in tables), "comparison.html"]))
    return 0
