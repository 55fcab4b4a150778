"""The result of a sweep: any folder of runs as one tidy table, the figures of the paper, and a report.

`python -m lf_experiments.results.sweep FOLDER [FOLDER ...]` writes `sweep.csv`, `figures/` and `report.html`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from lf_experiments.config import InputError
from lf_experiments.results.figures import SWEEP_FIGURES, save_sweep_figures, saved_figures
from lf_experiments.results.figures.evolution import AXES
from lf_experiments.results.report import write_sweep_report
from lf_experiments.results.sweep_table import sweep_table
from lf_experiments.results.tables import status_counts, write_csv
from lf_experiments.storage import written_whole


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
    """A sentence for every run that failed or has not ended."""
    sentences = []
    for job, status, error in zip(table["job"], table["status"], table["error"], strict=True):
        if status == "failed":
            sentences.append(f"job {job} failed: {error}")
        elif status == "running":
            sentences.append(f"job {job} has not ended: it is still running or was killed; the same command goes on with it")
    return sentences


def write_sweep(folder: Path, sources: list[Path] | None = None, x: str = "training_step") -> pd.DataFrame:
    """Write `sweep.csv`, `figures/` and `report.html` of the runs below `sources` into `folder`; returns the table.

    `sources` is `folder` itself unless given; `x` is what training is drawn against, `training_step` or `training_tokens`.
    Raises `InputError` where there is no run, or where `folder` is that of a run, which has a report of its own.
    """
    sources = sources or [folder]
    table = sweep_table(sources)
    if table.empty:
        raise InputError(
            "FOLDER",
            ", ".join(map(str, sources)),
            "no run.json is in or below it",
            "give the folder of a sweep, or several folders of runs",
        )
    if (folder / "run.json").exists():
        raise InputError("out", folder, "this is the folder of a run, which has a report of its own", "give --out FOLDER")
    with written_whole(folder / "sweep.csv") as temporary:
        write_csv(table, temporary)
    save_sweep_figures(folder, table, x)
    write_sweep_report(folder, table, duplicates(table) + unfinished(table))
    return table


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status is 1 where a run failed or no run was found."""
    parser = argparse.ArgumentParser(
        prog="python -m lf_experiments.results.sweep",
        description="Put the runs in folders side by side: a table, the figures of the paper, a report.",
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="a sweep, or any folder of runs, at any depth")
    parser.add_argument("--x", choices=AXES, default="training_step", help="the axis of training (default: training_step)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to write (default: the first folder)")
    given = parser.parse_args(arguments)
    out = given.out or given.folders[0]
    try:
        table = write_sweep(out, given.folders, given.x)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for warning in duplicates(table) + unfinished(table):
        print(f"warning: {warning}", file=sys.stderr)
    print(written(out, table))
    return int((table["status"] == "failed").any())


def written(out: Path, table: pd.DataFrame) -> str:
    """How many runs there are, and the files made of them."""
    figures = [path for _, path in saved_figures(out, SWEEP_FIGURES)]
    return "\n".join(map(str, [status_counts(table), out / "sweep.csv", *figures, out / "report.html"]))


if __name__ == "__main__":
    sys.exit(main())
