"""A sweeper for experiments that are no single grid of values: their jobs are those of several grids, one after another.

An experiment chooses it with `override /hydra/sweeper: grids`. Hydra takes sweepers only from modules in `hydra_plugins`, a
namespace that packages share; it imports them all whenever it starts, so that nothing heavy may be imported here.
"""

from dataclasses import dataclass, field

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from lf_experiments.multirun import jobs_of_grids


@dataclass
class GridSweeperConfig:
    """`hydra.sweeper` of an experiment with several grids."""

    _target_: str = "hydra_plugins.lf_experiments_sweeper.GridSweeper"
    max_batch_size: int | None = None
    """Jobs that are given to the launcher at a time; all by default."""
    grids: list[dict[str, str]] = field(default_factory=lambda: [{}])
    """Each as Hydra's own `params`, {key: values with commas between them}: all combinations of its values are run."""


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConfig, provider="lf_experiments")


class GridSweeper(BasicSweeper):
    """Runs the jobs of every grid, each crossed with the command line, in order and each once."""

    def __init__(self, max_batch_size: int | None, grids: list[dict[str, str]]) -> None:
        super().__init__(max_batch_size)
        self.grids = grids

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs in batches; `overrides` are those of the command line."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return list(self.split_overrides_to_chunks(jobs_of_grids(self.grids, overrides, parser), max_batch_size))
