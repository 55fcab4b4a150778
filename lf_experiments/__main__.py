"""`python -m lf_experiments`: compose the configuration, run the study, print what came out."""

from __future__ import annotations

import gc
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lf_experiments.config.help import help_text
from lf_experiments.config.options import configuration_folder
from lf_experiments.config.retired import refuse_retired_arguments
from lf_experiments.config.schema import Config
from lf_experiments.errors import InputError
from lf_experiments.inputs import checked_config
from lf_experiments.messages import message_to_user
from lf_experiments.multirun.launchers import refuse_missing_launcher
from lf_experiments.multirun.mode import with_mode
from lf_experiments.multirun.names import SWEEP_NAME, sweep_name
from lf_experiments.paths import explained_path_errors
from lf_experiments.stopping import Stopped, stopped_by_signals

log = logging.getLogger("lf_experiments")

IS_HYDRA_1_3 = hydra.__version__.startswith("1.3.")
OF_HYDRA = {"version_base": "1.3"} if IS_HYDRA_1_3 else {"execution_whitelist": ["lf_experiments.callbacks.RunFolderCheck"]}
"""Hydra 1.3 must be told which behaviour is meant, Hydra 1.4 what it may call."""

ConfigStore.instance().store(name="schema", node=Config)


def main() -> None:
    """The command: one job, or with --multirun several, or help. One that is stopped says so, and exits with 130 or 143."""
    arguments = sys.argv[1:]
    try:
        if asked := {"-h", "--help"} & set(arguments):
            words = arguments[arguments.index(asked.pop()) + 1 :]
            print(help_text([word for word in words if not is_override(word)]))
            return
        refuse_retired_arguments(arguments)
        refuse_missing_launcher(arguments)
    except InputError as error:
        sys.exit(f"error: {error}")
    sys.argv[1:] = sorted(with_mode(arguments), key=is_override)
    os.environ[SWEEP_NAME] = sweep_name(arguments)
    try:
        with stopped_by_signals():
            run()
    except Stopped as stopped:
        print(f"stopped; {stopped.command} goes on", file=sys.stderr)
        sys.exit(stopped.status)


def run() -> None:
    """Run the job or the jobs, in this process or helped by others."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        job()
    else:
        launched()


def is_override(argument: str) -> bool:
    """Whether an argument sets a key. Hydra 1.3 takes flags only before or after all of them, so they are sorted first."""
    return argument.startswith("~") or ("=" in argument and not argument.startswith("-"))


def launched() -> None:
    """One of several processes that `accelerate launch` or `torchrun` has started: the first runs the job, the others help."""
    from lf_experiments.models.launched import dismiss_launched_workers, work_for_leader

    if os.environ["RANK"] != "0":
        work_for_leader()
        return
    try:
        job()
    finally:
        dismiss_launched_workers()


@hydra.main(**OF_HYDRA, config_path=configuration_folder(), config_name="config")
def job(composed: DictConfig) -> None:
    """One job. What a user can mend ends in a message and status 1; the traceback comes with HYDRA_FULL_ERROR=1.

    A job of a sweep never raises: its error is in its `run.json`, the other jobs go on, and the sweep ends with status 1.
    """
    in_sweep = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        with explained_path_errors(configured_paths(composed, in_sweep)):
            run_job(composed, sweep=Path(HydraConfig.get().sweep.dir).name if in_sweep else None)
    except Stopped as stopped:
        stopped.command = resuming_command(in_sweep)
        raise
    except Exception as error:
        message = message_to_user(error)
        if in_sweep:
            log.error(message or "failed", exc_info=message is None)
        elif message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        else:
            sys.exit(message)


def resuming_command(in_sweep: bool) -> str:
    """The command that goes on with a stopped run: its folder must be named, unless it was."""
    settings = HydraConfig.get()
    is_named = in_sweep or any(override.startswith("hydra.run.dir=") for override in settings.overrides.hydra)
    return "the same command" if is_named else f"the same command with hydra.run.dir={settings.run.dir}"


def configured_paths(composed: DictConfig, in_sweep: bool) -> dict[str, Any]:
    """The values of the configuration, with the folder that the results go into under Hydra's key for it."""
    values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    return {**values, "hydra": {"sweep" if in_sweep else "run": {"dir": HydraConfig.get().runtime.output_dir}}}


def run_job(composed: DictConfig, sweep: str | None) -> None:
    """Check the configuration, run the study in the job's folder and print the summary; `sweep` groups jobs in wandb.

    With `plan=true` print what that would take, and do nothing.
    """
    config = checked_config(composed)
    if config.plan:
        from lf_experiments.plan.plan import plan_of
        from lf_experiments.plan.text import plan_text

        print(plan_text(plan_of(config)))
        return
    from lf_experiments.report.summary import summary
    from lf_experiments.runs.folder import RunFolder
    from lf_experiments.runs.run import Run
    from lf_experiments.study import run_study
    from lf_experiments.tracking import load_tracker

    load_tracker(config.tracking)  # now rather than when the results are there
    if config.tracking.group is None:
        config = replace(config, tracking=replace(config.tracking, group=sweep))
    run = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    resolved = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, enum_to_str=True))
    with run.recorded(resolved, list(HydraConfig.get().overrides.task), config.overwrite, is_job=sweep is not None):
        run_study(config, run, keep_model=sweep is not None)
    print(summary(Run(run.path)))
    if sweep is not None:
        gc.collect()  # what a job held goes before the next one begins


if __name__ == "__main__":
    main()
