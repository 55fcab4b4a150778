"""The result of a sweep: any folder of runs as one tidy table, the figures of the paper, and a report.

`python -m lf_experiments.sweep FOLDER [FOLDER ...]` writes `sweep.csv`, `neighbours.csv`, `figures/` and `report.html`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from lf_experiments.errors import InputError, exit_status
from lf_experiments.figures.catalogue import SWEEP_FIGURES
from lf_experiments.figures.evolution import AXES
from lf_experiments.figures.save import save_sweep_figures, saved_figures
from lf_experiments.report import write_sweep_report
from lf_experiments.runs.lines import status_counts
from lf_experiments.runs.methods import agreement_table, methods_table
from lf_experiments.runs.neighbours import neighbours
from lf_experiments.runs.run import UNREADABLE
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.tables import write_table

BAD = ("failed", UNREADABLE)
"""The statuses of runs that something is wrong with."""
OF_METHODS = {"methods.csv": methods_table, "method_agreement.csv": agreement_table}
"""What is written of a sweep that compares methods."""
UNFINISHED = {
    "failed": "job {job} failed: {error}",
    "running": "job {job} has not ended: it is still running or was killed; the same command goes on with it",
    UNREADABLE: "job {job} cannot be read and is left out: {error}",
}


def write_sweep(folder: Path, sources: list[Path] | None = None, x: str = "training_step") -> Sweep:
    """Write `sweep.csv`, `neighbours.csv`, `figures/` and `report.html` of the runs below `sources` into `folder`.

    Where they compare methods, `methods.csv` and `method_agreement.csv` too.

    `sources` is `folder` itself unless given; `x` is what training is drawn against, `training_step` or `training_tokens`.
    Returns the sweep.
    Raises `InputError` where there is no run, or where `folder` is that of a run, which has a report of its own.
    """
    sweep = Sweep(sources or [folder], x)
    if (folder / "run.json").exists():
        remedy = "give --out FOLDER to put several runs side by side; one run is shown by its report.html"
        raise InputError("out", folder, "this is the folder of a run, which has a report of its own", remedy)
    write_table(folder / "sweep.csv", sweep.table)
    for name, table_of in OF_METHODS.items():
        (folder / name).unlink(missing_ok=True)
        if sweep.comparisons:
            write_table(folder / name, table_of(sweep.comparisons))
    save_sweep_figures(folder, sweep)
    write_table(folder / "neighbours.csv", neighbours(sweep))
    write_sweep_report(sweep, folder, warnings(sweep.table))
    return sweep


def warnings(table: pd.DataFrame) -> list[str]:
    """A sentence for everything that is wrong with the runs of a sweep."""
    return duplicates(table) + unfinished(table)


def duplicates(table: pd.DataFrame) -> list[str]:
    """A sentence for every run whose weights are those of another that should have others."""
    jobs = table.set_index("job")
    return [duplicate_text(jobs.loc[job], jobs.loc[row["duplicate_of"]]) for job, row in jobs.iterrows() if row["duplicate_of"]]


def duplicate_text(row: pd.Series, twin: pd.Series) -> str:
    """What is wrong with two runs that have the same weights."""
    if row["model"] == twin["model"] and pd.notna(row["training_step"]) and pd.notna(twin["training_step"]):
        return (
            f"checkpoint {row['checkpoint']} of {row['model']} has the same weights as {twin['checkpoint']}: "
            "one of them was published wrongly; the curve between them says nothing"
        )
    return (
        f"job {row.name} (checkpoint {row['checkpoint']} of {row['model']}) has the same weights as job {twin.name} "
        f"(checkpoint {twin['checkpoint']} of {twin['model']}): they are one point of a curve, not two"
    )


def unfinished(table: pd.DataFrame) -> list[str]:
    """A sentence for every run that failed, has not ended or cannot be read."""
    rows = table[table["status"].isin(list(UNFINISHED))]
    return [UNFINISHED[row["status"]].format(job=row["job"], error=row["error"]) for _, row in rows.iterrows()]


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status is 1 where a run failed or cannot be read, or no run was found."""
    parser = argparse.ArgumentParser(
        prog="python -m lf_experiments.sweep",
        description="Put the runs in folders side by side: a table, the figures of the paper, a report.",
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="a sweep, or any folder of runs, at any depth")
    parser.add_argument("--x", choices=AXES, default="training_step", help="the axis of training (default: training_step)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to write (default: the first folder)")
    given = parser.parse_args(arguments)
    return exit_status(lambda: show_sweep(given.out or given.folders[0], given.folders, given.x))


def show_sweep(out: Path, folders: list[Path], x: str) -> int:
    """Write the sweep, and say what is wrong with it and where it is; returns 1 where a run failed or cannot be read."""
    table = write_sweep(out, folders, x).table
    for warning in warnings(table):
        print(f"warning: {warning}", file=sys.stderr)
    print("\n".join([status_counts(table), *files_written(out)]))
    return int(table["status"].isin(BAD).any())


def files_written(folder: Path) -> list[str]:
    """The files that were made of a sweep."""
    figures = [path for _, path in saved_figures(folder, SWEEP_FIGURES)]
    tables = [folder / name for name in ("sweep.csv", "neighbours.csv", *OF_METHODS) if (folder / name).is_file()]
    return list(map(str, [*tables, *figures, folder / "report.html"]))


if __name__ == "__main__":
    sys.exit(main())
