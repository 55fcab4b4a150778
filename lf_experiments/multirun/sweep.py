"""A sweep from its first job to its table: all jobs are checked before one starts, and in the end stand side by side."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from lf_experiments.config.schema import TrackingConfig
from lf_experiments.errors import InputError
from lf_experiments.inputs import checked_config
from lf_experiments.multirun.jobs import Job, job_config, sweep_jobs
from lf_experiments.multirun.launchers import refuse_second_launcher, share_cores
from lf_experiments.multirun.names import job_names
from lf_experiments.paths import refuse_unwritable

log = logging.getLogger(__name__)

MANY_JOBS = 20
"""From so many jobs on, checking them takes long enough for a progress bar."""


def checked_jobs(config: DictConfig, arguments: list[str], loader: ConfigLoader) -> list[Job]:
    """The jobs of a sweep, each with the name of its folder. An error in any of them ends the command before one starts."""
    from lf_experiments.tracking import load_tracker

    try:
        refuse_second_launcher(config)
        jobs = sweep_jobs(config, arguments, loader)
        for job in tqdm(jobs, "checking", unit="job", leave=False, disable=len(jobs) < MANY_JOBS):
            load_tracker(checked_config(job_config(config, job, loader)).tracking)
        refuse_unwritable("hydra.sweep.dir", Path(config.hydra.sweep.dir))
    except (InputError, HydraException) as error:
        sys.exit(f"error: {error}\n{error.__cause__ or ''}".strip())
    share_cores(config)
    return jobs if names_are_given(config) else named(jobs)


def names_are_given(config: DictConfig) -> bool:
    """Whether the command line names the folders of the jobs."""
    return any(override.startswith("hydra.sweep.subdir=") for override in config.hydra.overrides.hydra)


def named(jobs: list[Job]) -> list[Job]:
    """The jobs with a folder name for each as one more override."""
    return [[*job, f"hydra.sweep.subdir='{name}'"] for job, name in zip(jobs, job_names(jobs), strict=True)]


def end(config: DictConfig, is_stopped: bool) -> bool:
    """Put the results of a sweep side by side, whether or not some jobs failed; returns whether all of them are done.

    Plans have no results. One that is stopped has no time for an upload.
    """
    if config.plan:
        return True
    tracking = cast(TrackingConfig, OmegaConf.to_object(config.tracking))
    try:
        return put_side_by_side(Path(config.hydra.sweep.dir), replace(tracking, tracker="none") if is_stopped else tracking)
    except InputError as error:
        log.error("error: %s", error)
    except Exception:
        log.exception("the results of the jobs are there, but could not be put side by side")
    return False


def put_side_by_side(folder: Path, tracking: TrackingConfig) -> bool:
    """Write and print the results of a sweep; returns whether all its jobs are done."""
    from lf_experiments.sweep import write_sweep
    from lf_experiments.tracking import log_sweep

    sweep = write_sweep(folder)
    tracked = log_sweep(tracking, sweep, folder, folder.name, folder.name)
    print(sweep_summary(folder, sweep.table.to_dict("records"), tracked))
    return bool((sweep.table["status"] == "done").all())


def sweep_summary(folder: Path, rows: list[dict[str, Any]], tracked: str | None) -> str:
    """The end of a sweep for the terminal: a line per job, and where the results are."""
    lines = ["", f"{len(rows)} jobs:"]
    for row in rows:
        error = f": {row['error'].splitlines()[0]}" if row["error"] else ""
        lines.append(f"  {row['status']:8} {row['job']}{error}")
    lines += [f"  table  {folder / 'sweep.csv'}", f"  report {folder / 'report.html'}"]
    return "\n".join([*lines, f"  {tracked}"] if tracked else lines)
