"""Several jobs at once: launchers that are not installed or do not fit, and a share of the cores for each job."""

from __future__ import annotations

import os
from importlib.util import find_spec

from omegaconf import DictConfig

from lf_experiments.errors import InputError

PLUGINS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "slurm_gpu": "hydra_plugins.hydra_submitit_launcher",
}
"""The module of each launcher that comes with the extra `launchers`."""


def refuse_missing_launcher(arguments: list[str]) -> None:
    """Raise `InputError` where a command asks for a launcher that is not installed."""
    for argument in arguments:
        key, _, launcher = argument.partition("=")
        if key == "hydra/launcher" and launcher in PLUGINS and find_spec(PLUGINS[launcher]) is None:
            raise InputError(key, launcher, "it is not installed", "pip install 'lf_experiments[launchers]'")


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


def share_cores(config: DictConfig) -> None:
    """Give each of several jobs that run at once its share of the cores; the processes they run in inherit it."""
    jobs = config.hydra.launcher.get("n_jobs", 1)
    cores = os.cpu_count() or 1
    at_once = cores if jobs < 1 else jobs
    if at_once > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // at_once)))
