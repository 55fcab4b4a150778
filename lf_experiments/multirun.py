"""Sweeps: every job is checked before the first one starts, and when they have ended their results stand side by side."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from lf_experiments.config import Config, InputError, TrackingConfig, read_config
from lf_experiments.storage import fingerprint

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint="
"""Before the option that an override chooses."""

FINAL = sys.maxsize
"""Stands for the step of the final weights, after all others."""

SWEEP_NAME = "LF_EXPERIMENTS_SWEEP"
"""The environment variable that names the folder of the sweep; jobs in other processes inherit it."""


def sweep_name(arguments: list[str]) -> str:
    """A folder name for a command: the same for the same command, so that it can be taken up again, and for no other.

    How and where Hydra runs the jobs does not count, but what it sweeps.
    """
    overrides = [
        argument
        for argument in arguments
        if argument.startswith("hydra.sweeper.") or not argument.startswith(("-", "hydra.", "hydra/"))
    ]
    readable = re.sub(r"[^\w.,=+-]+", "_", "_".join(overrides).replace("experiment=", ""))[:60].strip("_") or "sweep"
    return f"{readable}-{fingerprint(overrides)[:8]}"


class Sweep(Callback):
    """What Hydra calls when a multirun starts and when it has ended."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose the published steps, check every job, and share the cores; what is wrong stops the sweep before it starts."""
        try:
            refuse_second_launcher(config)
            let_command_line_win(config)
            keep_published_steps(config)
            jobs = job_overrides(config)
            for overrides in jobs:
                read_config(job_config(config, overrides))
        except (InputError, HydraException) as error:
            sys.exit(f"error: {error}\n{error.__cause__ or ''}".strip())
        name_jobs(config, jobs)
        share_cores(config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Put the results side by side, whether or not some jobs failed; exit with status 1 where one did.

        Hydra takes an exception in here for a warning, and the sweep for a success: none may leave. Plans have no results.
        """
        if config.plan.enabled:
            return
        try:
            all_done = put_side_by_side(Path(config.hydra.sweep.dir), OmegaConf.to_object(config.tracking))
        except InputError as error:
            sys.exit(f"error: {error}")
        except Exception:
            log.exception("the results of the jobs are there, but could not be put side by side")
            sys.exit(1)
        if not all_done:
            sys.exit(1)


def put_side_by_side(folder: Path, tracking: TrackingConfig) -> bool:
    """Write and print the results of a sweep; returns whether all its jobs are done."""
    from lf_experiments.results.sweep import write_sweep
    from lf_experiments.results.tracking import log_sweep

    table = write_sweep(folder)
    tracked = log_sweep(tracking, folder, folder.name, folder.name)
    print(sweep_summary(folder, table.to_dict("records"), tracked))
    return bool((table["status"] == "done").all())


def refuse_second_launcher(config: DictConfig) -> None:
    """Raise `InputError` where jobs run in processes of their own: each would take those of `accelerate launch` for its."""
    launcher = config.hydra.launcher._target_
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not launcher.endswith("BasicLauncher"):
        raise InputError(
            "hydra.launcher",
            launcher,
            "a launcher of jobs does not go with a launcher of processes",
            "start without accelerate launch or torchrun, and give runtime.num_processes=N",
        )


def let_command_line_win(config: DictConfig) -> None:
    """Take out of the experiment's grids what the command line sets; Hydra would run every pair of it and `++key=value`."""
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    with open_dict(config):
        for grid in grids_of(config):
            for override in given:
                grid.pop(override.key_or_group, None)


def job_overrides(config: DictConfig) -> list[list[str]]:
    """The overrides of every job of a multirun, in its order: what the experiment sweeps, crossed with the command line."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    given = parser.parse_overrides(list(config.hydra.overrides.task))
    return jobs_of_grids(grids_of(config), given, parser)


def grids_of(config: DictConfig) -> list[dict[str, str]]:
    """What the experiment sweeps, {key: values}: several grids with the sweeper `grids`, one with Hydra's own."""
    sweeper = config.hydra.sweeper
    return list(sweeper.grids) if "grids" in sweeper else [sweeper.params or {}]


def jobs_of_grids(grids: list[dict[str, str]], given: list[Override], parser: OverridesParser) -> list[list[str]]:
    """The overrides of the jobs of several grids, each job once: all combinations of the values of a grid and those given."""
    jobs = []
    for grid in grids:
        swept = parser.parse_overrides([f"{key}={values}" for key, values in grid.items()])
        (combinations,) = BasicSweeper.split_arguments([*swept, *given], max_batch_size=None)
        jobs += map(tuple, combinations)
    return list(map(list, dict.fromkeys(jobs)))


def job_config(config: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration of one job, as the job itself will compose it."""
    composed = GlobalHydra.instance().config_loader().load_sweep_config(config, overrides)
    with flag_override(composed, ["struct", "readonly"], False):
        composed.pop("hydra")
    return composed


def keep_published_steps(config: DictConfig) -> None:
    """Replace `checkpoint=glob(...)` by the steps it matches that every model of the sweep has published.

    The others are named. Raises `InputError` where none is left.
    """
    for index, override in enumerate(config.hydra.overrides.task):
        if re.match(r"checkpoint=glob\(", override):
            kept, others = matched_steps(config)
            if not kept:
                raise InputError("checkpoint", override, "it matches no published step", "see --help for the steps there are")
            if others:
                print(f"{override}: without {', '.join(others)}, which the model has not published")
            with open_dict(config):
                config.hydra.overrides.task[index] = f"checkpoint={','.join(kept)}"


def matched_steps(config: DictConfig) -> tuple[list[str], list[str]]:
    """The checkpoint options of a sweep, by step: those that every model has published, and the others."""
    jobs = job_overrides(config)
    options = {override.removeprefix(CHECKPOINT) for job in jobs for override in job if override.startswith(CHECKPOINT)}
    steps = {option: step_of_option(option) for option in options}
    beside = {tuple(override for override in job if not override.startswith(CHECKPOINT)) for job in jobs}
    published = set.intersection(*(published_steps(config, list(overrides)) for overrides in beside))
    ordered = sorted(options, key=lambda option: (steps[option], option))
    kept = [option for option in ordered if steps[option] in published]
    return kept, [option for option in ordered if option not in kept]


def step_of_option(option: str) -> int:
    """The training step of a checkpoint option: `FINAL` for the final weights, -1 where it leaves the step to the user."""
    checkpoint = GlobalHydra.instance().config_loader().repository.load_config(f"checkpoint/{option}").config
    if OmegaConf.is_missing(checkpoint, "step"):
        return -1
    return FINAL if checkpoint.step is None else checkpoint.step


def published_steps(config: DictConfig, overrides: list[str]) -> set[int]:
    """The training steps that the model of a job has published, `FINAL` among them."""
    composed: Config = OmegaConf.to_object(job_config(config, [*overrides, f"{CHECKPOINT}final"]))
    return {*composed.model.published_steps, FINAL}


def name_jobs(config: DictConfig, jobs: list[list[str]]) -> None:
    """Name the folder of each job after what tells it from the others: what all jobs share says the name of the sweep."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    values = [
        {override.key_or_group: override.get_value_string() for override in parser.parse_overrides(overrides)}
        for overrides in jobs
    ]
    unnamed = {key for job in values for key in job} - set(telling_keys(values))
    with open_dict(config):
        config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(sorted(unnamed))}]")


def telling_keys(jobs: list[dict[str, str]]) -> list[str]:
    """The keys whose values tell every job from the others and from no name at all: those that are needed, first ones first.

    Keys that all jobs share come last: they name a job that has no others.
    """
    keys = dict.fromkeys(key for job in jobs for key in job)
    chosen: list[str] = []
    for key in sorted(keys, key=lambda key: len({job.get(key) for job in jobs}) == 1):
        if len(names(jobs, [*chosen, key])) > len(names(jobs, chosen)):
            chosen.append(key)
    return chosen


def names(jobs: list[dict[str, str]], keys: list[str]) -> set[tuple[tuple[str, str], ...]]:
    """The different names that the keys give to jobs, and the empty one."""
    return {(), *(tuple((key, job[key]) for key in keys if key in job) for job in jobs)}


def share_cores(config: DictConfig) -> None:
    """Give each of several jobs that run at once its share of the cores; the processes they run in inherit it."""
    jobs = config.hydra.launcher.get("n_jobs", 1)
    cores = os.cpu_count() or 1
    at_once = cores if jobs < 1 else jobs
    if at_once > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // at_once)))


def sweep_summary(folder: Path, rows: list[dict[str, Any]], tracked: str | None) -> str:
    """The end of a sweep for the terminal: a line per job, and where the results are."""
    lines = ["", f"{len(rows)} jobs:"]
    for row in rows:
        error = f": {row['error'].splitlines()[0]}" if row["status"] == "failed" else ""
        lines.append(f"  {row['status']:8} {row['job']}{error}")
    lines += [f"  table  {folder / 'sweep.csv'}", f"  report {folder / 'report.html'}"]
    return "\n".join([*lines, f"  {tracked}"] if tracked else lines)
