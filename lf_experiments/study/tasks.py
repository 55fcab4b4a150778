"""9. tasks: any task of lm_eval, with and without each region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lf_experiments.config.schema import Config
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.task_index import task_names
from lf_experiments.evaluations.tasks import measure_tasks, task_table
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import Cost, RunShape, Work
from lf_experiments.study.deactivations import Deactivations
from lf_experiments.study.stage import Stage


@dataclass(frozen=True)
class Tasks(Stage):
    """The scores of the tasks that `tasks` names; without any there is nothing to run."""

    name: ClassVar[str] = "tasks"
    leaves: ClassVar[tuple[str, ...]] = ("tasks.csv",)

    deactivations: Deactivations
    ends: str
    """The tokens that end a text."""
    context: int | None
    tasks: list[str]
    level: float | None
    """Of the intervals; None for none."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Tasks:
        deactivations, level = Deactivations.of(config, known), config.uncertainty.level
        return cls(deactivations, known["ends"], config.model.context, config.tasks, level)

    @classmethod
    def is_wanted(cls, config: Config) -> bool:
        return bool(config.tasks)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("probe",)

    def run(self, bench: Bench) -> dict[str, Any]:
        interventions, names = self.deactivations.of_tasks(bench), task_names(self.tasks)
        left = bench.folder.unfinished(self)
        kept = KeptCells(left.kept, left.keep)  # of tasks no more than this run has left: they may change
        found = measure_tasks(bench.load_reader(), interventions, names, bench.batch_tokens, kept)
        bench.folder.write_table("tasks.csv", task_table(found, self.level))
        return {}

    def cost(self, shape: RunShape) -> Cost:
        passes = self.deactivations.passes(len(shape.languages), at_full_dose=True)
        return Cost(Work(None, f"{len(self.tasks)} tasks of the harness, read {passes} times"))
