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
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from lf_experiments.config import Config, InputError, TrackingConfig, read_config
from lf_experiments.storage import fingerprint

log = logging.getLogger(__name__)

SWEEP_NAME = "LF_EXPERIMENTS_SWEEP"
"""The environment variable that names the folder of the sweep; jobs in other processes inherit it."""


def sweep_name(arguments: list[str]) -> str:
    """A folder name for a command: the same for the same command, so that it can be taken up again, and for no other.

    How and where Hydra runs the jobs does not count.
    """
    overrides = [argument for argument in arguments if not argument.startswith(("-", "hydra.", "hydra/"))]
    readable = re.sub(r"[^\w.,=+-]+", "_", "_".join(overrides).replace("experiment=", ""))[:60].strip("_") or "sweep"
    return f"{readable}-{fingerprint(overrides)[:8]}"


class Sweep(Callback):
    """What Hydra calls when a multirun starts and when it has ended."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose the published steps, check every job, and share the cores; what is wrong stops the sweep before it starts."""
        try:
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

        Hydra takes an exception in here for a warning, and the sweep for a success: none may leave.
        """
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


def let_command_line_win(config: DictConfig) -> None:
    """Take out of the experiment's sweep what the command line sets; Hydra would run every pair of the two."""
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    with open_dict(config):
        for override in given:
            (config.hydra.sweeper.params or {}).pop(override.key_or_group, None)


def job_overrides(config: DictConfig) -> list[list[str]]:
    """The overrides of every job of a multirun, in its order."""
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(sweep_overrides(config))
    return [job for batch in BasicSweeper.split_arguments(parsed, max_batch_size=None) for job in batch]


def sweep_overrides(config: DictConfig) -> list[str]:
    """What is swept and what is set, from the file of the experiment and from the command line."""
    parameters = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    return [*parameters, *config.hydra.overrides.task]


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
    steps: dict[str, int] = {}
    published: dict[str, bool] = {}
    for overrides in job_overrides(config):
        option = next(override for override in overrides if override.startswith("checkpoint=")).removeprefix("checkpoint=")
        step, is_published = step_of_job(job_config(config, overrides))
        steps[option] = step
        published[option] = published.get(option, True) and is_published
    ordered = sorted(steps, key=steps.__getitem__)
    return [option for option in ordered if published[option]], [option for option in ordered if not published[option]]


def step_of_job(composed: DictConfig) -> tuple[int, bool]:
    """The training step of a job, and whether its model has published it; the final weights stand after all steps."""
    if OmegaConf.is_missing(composed.checkpoint, "step"):
        return sys.maxsize, False
    config: Config = OmegaConf.to_object(composed)
    step = config.checkpoint.step
    return (sys.maxsize, True) if step is None else (step, step in config.model.published_steps)


def name_jobs(config: DictConfig, jobs: list[list[str]]) -> None:
    """Name the folder of each job after what is different in it: what all jobs share says the name of the sweep."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    values: dict[str, set[str]] = {}
    for overrides in jobs:
        for override in parser.parse_overrides(overrides):
            values.setdefault(override.key_or_group, set()).add(override.get_value_string())
    shared = [key for key, found in values.items() if len(found) == 1]
    if len(shared) < len(values):
        with open_dict(config):
            config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(shared)}]")


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
