"""The jobs of a sweep: the grids of an experiment, each crossed with the command line."""

from __future__ import annotations

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, flag_override

from lf_experiments.multirun.combinations import combinations
from lf_experiments.multirun.steps import is_glob, with_published_steps

OF_THE_MODEL = ("model", "checkpoint")
"""Groups that say what model is read."""

Job = list[str]
"""The overrides of a job, as one would type them."""


def sweep_jobs(config: DictConfig, arguments: list[str], loader: ConfigLoader) -> list[Job]:
    """The jobs of a multirun, in order and each once: the grids of its sweeper, with the overrides of the command line."""
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(arguments)
    grids = [merged(grid, given, parser) for grid in grids_of(config)]
    if any(is_glob(override) for grid in grids for override in grid):
        grids = with_published_steps(grids, parser, lambda overrides: job_config(config, overrides, loader))
    return jobs_of(grids)


def grids_of(config: DictConfig) -> list[dict[str, str]]:
    """{key: values} of every grid of the sweeper; its `params` belong to all of them."""
    sweeper = config.hydra.sweeper
    return [{**(sweeper.params or {}), **grid} for grid in sweeper.get("grids") or [{}]]


def merged(grid: dict[str, str], given: list[Override], parser: OverridesParser) -> list[Override]:
    """The overrides of a grid and of the command line, which wins; first those that say what model is read.

    The first keys change most slowly from job to job: so jobs of one model follow each other, and it is loaded once.
    """
    typed = {override.key_or_group for override in given}
    found = [*parser.parse_overrides([f"{key}={values}" for key, values in grid.items() if key not in typed]), *given]
    return sorted(found, key=lambda override: override.key_or_group.partition(".")[0] not in OF_THE_MODEL)


def jobs_of(grids: list[list[Override]]) -> list[Job]:
    """All combinations of the values of each grid, one grid after another, each job once."""
    return list(map(list, dict.fromkeys(job for grid in grids for job in combinations(grid))))


def job_config(config: DictConfig, overrides: Job, loader: ConfigLoader) -> DictConfig:
    """The configuration of one job, as the job itself will compose it."""
    composed = loader.load_sweep_config(config, list(overrides))
    with flag_override(composed, ["struct", "readonly"], False):
        composed.pop("hydra")
    return composed
