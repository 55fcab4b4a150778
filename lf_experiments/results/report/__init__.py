"""The report of a run or a sweep: one HTML page that opens anywhere, without a network, from whatever its folder holds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lf_experiments.results.report.of_run import run_content
from lf_experiments.results.report.of_sweep import sweep_content
from lf_experiments.results.report.page import page
from lf_experiments.storage import write_text


def write_report(folder: Path) -> None:
    """Write `report.html` of a run. A section whose files are not there is left out."""
    write_text(folder / "report.html", page("run.html.jinja", run_content(folder)))


def write_sweep_report(folder: Path, table: pd.DataFrame, warnings: list[str]) -> None:
    """Write `report.html` of a sweep, from its figures, which are in `folder`, and the table of its runs.

    `table` is that of `sweep_table`, indexed by the folders of the runs, whose own reports are linked by relative paths.
    """
    write_text(folder / "report.html", page("sweep.html.jinja", sweep_content(folder, table, warnings)))
