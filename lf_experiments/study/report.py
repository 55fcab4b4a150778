"""10. report: tables -> figures, report, tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lf_experiments.config.schema import Config, TrackingConfig
from lf_experiments.figures.catalogue import FIGURES, FIRST_FIGURES
from lf_experiments.figures.save import save_figures
from lf_experiments.report import write_report
from lf_experiments.runs.run import Run
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import Cost, RunShape
from lf_experiments.study.stage import Stage
from lf_experiments.tracking import log_run

REPORT_BYTES = 150 << 20
"""The libraries that draw, and their figures."""


@dataclass(frozen=True)
class Report(Stage):
    """Figures and report of everything the run folder holds, and its mirror in the tracking service."""

    name: ClassVar[str] = "report"
    leaves: ClassVar[tuple[str, ...]] = ("report.html",)
    reads: ClassVar[tuple[str, ...]] = ("tables",)

    tables: str
    tracking: TrackingConfig | None
    """Where the finished run is mirrored; None for a first look at one that goes on, which is mirrored nowhere."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Report:
        return cls(known["tables"], config.tracking)

    def first_look(self) -> Report:
        """The report of what there is by now, with the similarity map alone: the rest is drawn when all is there."""
        return replace(self, tracking=None)

    def run(self, bench: Bench) -> dict[str, Any]:
        folder, run = bench.folder, Run(bench.folder.path)
        stems = save_figures(run, FIGURES if self.tracking else FIRST_FIGURES)
        write_report(run, goes_on=self.tracking is None)
        figures = sorted((folder.path / "figures").glob("*.*"))
        folder.further_files += [f"figures/{path.name}" for path in figures if path.stem in stems]
        if self.tracking:
            folder.note(tracking=log_run(self.tracking, run))
        return {}

    def cost(self, shape: RunShape) -> Cost:  # noqa: ARG002
        return Cost(host=REPORT_BYTES, host_note="the libraries that draw", after_batches=False)
