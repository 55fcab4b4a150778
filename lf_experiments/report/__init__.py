"""The report of a run or a sweep: one HTML page that opens anywhere, without a network, from whatever its folder holds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lf_experiments.report.of_pair import sections_of_pair
from lf_experiments.report.of_run import sections_of_run
from lf_experiments.report.of_sweep import sections_of_sweep
from lf_experiments.report.page import page
from lf_experiments.runs.lines import status_counts
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep
from lf_experiments.storage import write_text

GOES_ON = "what is missing here is being measured, and this page is completed in place"


def write_report(run: Run, goes_on: bool = False) -> None:
    """Write `report.html` of a run. A section whose files are not there is left out.

    While the run lasts no status is shown, unless it `goes_on` with stages that this page still lacks.
    """
    record = run.record or {"status": "", "error": None}
    title, moment = (run.metrics.model, run.metrics.moment) if run.metrics else (run.folder.name, "")
    status = "" if record["status"] == "running" and not goes_on else record["status"]
    note = GOES_ON if goes_on else record["error"] or ""
    write_text(run.folder / "report.html", page(title, moment, sections_of_run(run), status, note))


def write_sweep_report(sweep: Sweep, folder: Path, warnings: list[str]) -> None:
    """Write `report.html` of a sweep into the folder where its figures are. Runs are linked by relative paths."""
    sections = sections_of_sweep(sweep, folder, warnings)
    write_text(folder / "report.html", page(folder.resolve().name, status_counts(sweep.table), sections))


def write_pair_report(one: Run, other: Run, tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write `comparison.html` of two runs into a folder; `tables` are those of `runs/side_by_side.py`."""
    title = f"{one.name} and {other.name}"
    write_text(folder / "comparison.html", page(title, "side by side", sections_of_pair(one, other, tables)))
