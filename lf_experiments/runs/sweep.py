"""What a sweep left, read: `Sweep("multirun/paper_nano").table`, one row per run, and the lines and families among its runs."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import cached_property
from pathlib import Path

import pandas as pd

from lf_experiments.errors import InputError
from lf_experiments.runs.families import WHOLE, family_names, final_runs, is_in_part, main_run
from lf_experiments.runs.lines import line_names, lines
from lf_experiments.runs.methods import Compared, comparisons
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep_table import sweep_table


class Sweep:
    """The runs in or below one folder or several, whatever became of them.

    `table` has one row per run, indexed by its `Run` (columns: `sweep_table`); `x` is what training is drawn against,
    `training_step` or `training_tokens`. Raises `InputError` where there is no run.
    """

    def __init__(self, folders: str | Path | Iterable[str | Path], x: str = "training_step") -> None:
        self.folders = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
        self.x = x
        self.table = sweep_table(self.folders)
        if self.table.empty:
            folders = ", ".join(map(str, self.folders))
            remedy = "give the folder of a sweep, or several folders of runs"
            raise InputError("FOLDER", folders, "no run.json is in or below it", remedy)

    def __repr__(self) -> str:
        return f"Sweep({', '.join(map(str, self.folders))}: {len(self.table)} runs)"

    @property
    def runs(self) -> list[Run]:
        """The runs, in the order of the table."""
        return list(self.table.index)

    def lines(self, x: str | None = None) -> dict[str, pd.DataFrame]:
        """{model and variant: its rows in the order of `x`}, of all that were measured at two points at least."""
        return lines(self.table, x or self.x)

    @property
    def finals(self) -> pd.DataFrame:
        """The rows of finished runs with final weights, smallest model first."""
        return final_runs(self.table)

    @property
    def families(self) -> dict[str, pd.DataFrame]:
        """{family and variant: those of `finals` that belong to it}"""
        finals = self.finals
        return dict(list(finals.groupby(family_names(finals), sort=False))) if len(finals) else {}

    @property
    def main_run(self) -> Run | None:
        """The run that stands for all with final weights where one is shown; None where none has ended well."""
        return main_run(self.finals)

    @property
    def last_runs(self) -> dict[str, Run]:
        """{model and variant: its finished run that was trained longest}"""
        done = self.table[self.table["status"] == "done"]
        return {name: runs.index[-1] for name, runs in done.groupby(line_names(done), sort=False)}

    @cached_property
    def comparisons(self) -> list[Compared]:
        """The methods that its runs compare, model by model and moment by moment; empty where probes do not differ."""
        return comparisons(self.table)

    def of(self, part: str = WHOLE) -> Sweep:
        """The sweep with the runs alone that the body of the paper is about, or appendix C (`families`)."""
        if part == WHOLE:
            return self
        chosen = copy(self)
        chosen.__dict__.pop("comparisons", None)
        chosen.table = self.table[is_in_part(self.table, part)]
        return chosen
