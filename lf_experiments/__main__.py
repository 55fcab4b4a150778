"""`python -m lf_experiments`: compose the configuration, run the study, print what came out."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lf_experiments.config import Config, InputError, read_config


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


@hydra.main(version_base="1.3", config_path=configuration_folder(), config_name="config")
def main(composed: DictConfig) -> None:
    """One job. What a user can mend ends in a message and status 1; the traceback comes with HYDRA_FULL_ERROR=1."""
    try:
        run_job(composed)
    except (InputError, OSError) as error:
        wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
        if wants_traceback or (isinstance(error, OSError) and error.errno != errno.ENOSPC):
            raise
        sys.exit(f"error: {error}" if isinstance(error, InputError) else f"error: {error}\n{DISK_REMEDY}")


def run_job(composed: DictConfig) -> None:
    """Check the configuration, run the study in the job's folder and print the summary."""
    config = read_config(composed)
    from lf_experiments.results.run_folder import RunFolder
    from lf_experiments.results.summary import summary
    from lf_experiments.study import Study

    run = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    resolved = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    overrides = list(HydraConfig.get().overrides.task)
    with run.recorded(resolved, overrides):
        Study(config, run).go()
    print(summary(run))


if __name__ == "__main__":
    main()
