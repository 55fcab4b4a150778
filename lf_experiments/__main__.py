"""`python -m lf_experiments`: compose the configuration, run the study, print what came out."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lf_experiments.config import Config, InputError, read_config
from lf_experiments.multirun import SWEEP_NAME, sweep_name

log = logging.getLogger("lf_experiments")


def configuration_folder() -> str:
    """`conf/`: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).resolve().parent
    inside, beside = package / "conf", package.parent / "conf"
    return str(inside if inside.is_dir() else beside)


os.environ.setdefault("GOMP_SPINCOUNT", "3000")
"""How long a thread spins before it sleeps while it waits for others. By default it spins for long, which makes tiny models
many times slower where another program wants the same core; shorter than this, waking up is what takes the time."""

DISK_REMEDY = "Remedy: make room, or choose other folders with hydra.run.dir=FOLDER and cache.dir=FOLDER; then run again."

ConfigStore.instance().store(name="schema", node=Config)


def main() -> None:
    """The command: one job, or with --multirun several."""
    sys.argv[1:] = [longhand(argument) for argument in sys.argv[1:]]
    os.environ[SWEEP_NAME] = sweep_name(sys.argv[1:])
    if os.environ.get("WORLD_SIZE", "1") == "1":
        job()
    else:
        launched()


def longhand(argument: str) -> str:
    """`plan=true` for `plan.enabled=true`: `plan` is also the group of the other keys. Other arguments as they are."""
    return argument.replace("=", ".enabled=", 1) if argument.lower() in ("plan=true", "plan=false") else argument


def launched() -> None:
    """One of several processes that `accelerate launch` or `torchrun` has started: the first runs the job, the others help."""
    from lf_experiments.models.followers import dismiss_launched, follow_launched

    if os.environ["RANK"] != "0":
        follow_launched()
        return
    try:
        job()
    finally:
        dismiss_launched()


@hydra.main(version_base="1.3", config_path=configuration_folder(), config_name="config")
def job(composed: DictConfig) -> None:
    """One job. What a user can mend ends in a message and status 1; the traceback comes with HYDRA_FULL_ERROR=1.

    A job of a sweep never raises: its error is in its `run.json`, the other jobs go on, and the sweep ends with status 1.
    """
    in_sweep = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        run_job(composed, sweep=Path(HydraConfig.get().sweep.dir).name if in_sweep else None)
    except Exception as error:
        message = message_to_user(error)
        if in_sweep:
            log.error(message or "failed", exc_info=message is None)
        elif message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        else:
            sys.exit(message)


def message_to_user(error: Exception) -> str | None:
    """What to say of an error that a user can mend, or None for any other."""
    if isinstance(error, InputError):
        return f"error: {error}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"error: {error}\n{DISK_REMEDY}"
    return None


def run_job(composed: DictConfig, sweep: str | None) -> None:
    """Check the configuration, run the study in the job's folder and print the summary; `sweep` groups jobs in wandb.

    With `plan=true` print what that would take, and do nothing.
    """
    config = read_config(composed)
    if config.plan.enabled:
        from lf_experiments.plan.plan import plan_of
        from lf_experiments.plan.text import plan_text

        print(plan_text(plan_of(config)))
        return
    from lf_experiments.results.run_folder import RunFolder
    from lf_experiments.results.summary import summary
    from lf_experiments.study import Study

    if config.tracking.group is None:
        config = replace(config, tracking=replace(config.tracking, group=sweep))
    run = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    resolved = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    with run.recorded(resolved, list(HydraConfig.get().overrides.task)):
        Study(config, run).go()
    print(summary(run))
    gc.collect()  # the model goes before the next job of a sweep loads its own


if __name__ == "__main__":
    main()
