"""The sweeper of all sweeps: their jobs are those of several grids, checked before the first starts, compared after the last.

Hydra takes sweepers only from modules in `hydra_plugins`, a namespace that packages share; it imports them all whenever it
starts, so that nothing heavy may be imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class GridSweeperConfig:
    """`hydra.sweeper`, the default one of conf/config.yaml."""

    _target_: str = "hydra_plugins.lf_experiments_sweeper.GridSweeper"
    max_batch_size: int | None = None
    """Jobs that are given to the launcher at a time; null for all."""
    params: dict[str, str] | None = None
    """{key: values separated by commas}: all combinations of them are run, as with Hydra's own sweeper."""
    grids: list[dict[str, str]] = field(default_factory=lambda: [{}])
    """Several such grids, one after another; each has the `params` too."""


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConfig, provider="lf_experiments")


class GridSweeper(Sweeper):
    """Runs the jobs of every grid, each crossed with the command line, in order and each once."""

    def __init__(self, max_batch_size: int | None, **_: Any) -> None:
        """The other keys, `params` and `grids`, are read from the configuration by `lf_experiments.multirun.jobs`."""
        self.max_batch_size = max_batch_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember the configuration of the sweep, and make the launcher that it chooses."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Check all jobs, run them, put their results side by side; status 1 unless all are done.

        `arguments` are the overrides of the command line.
        """
        from lf_experiments.multirun.sweep import checked_jobs, end

        jobs = checked_jobs(self.config, arguments, self.hydra_context.config_loader)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        is_stopped, all_done = True, False
        try:
            returned = self.launch(jobs)
            is_stopped = False
        finally:
            all_done = end(self.config, is_stopped)
        if not all_done:
            raise SystemExit(1)
        return returned

    def launch(self, jobs: Sequence[list[str]]) -> list[JobReturn]:
        """Give the jobs to the launcher, `max_batch_size` at a time."""
        size = self.max_batch_size or len(jobs)
        returned: list[JobReturn] = []
        for first in range(0, len(jobs), size):
            returned += self.launcher.launch(jobs[first : first + size], initial_job_idx=first)
        return returned
