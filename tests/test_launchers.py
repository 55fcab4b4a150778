"""Several jobs at once: they do common work once, share the cores, and end in the same table (slow)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow


def run(folder: Path, *arguments: str) -> Path:
    """A sweep in a fresh cache; returns its folder."""
    folder.mkdir()
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": str(folder / "cache")}
    command = [
        sys.executable,
        "-m",
        "lf_experiments",
        "--multirun",
        "experiment=smoke",
        "stages=[capture,compare,probe]",
    ]
    found = subprocess.run(
        [*command, "probe.threshold=2.0,1.5", "checkpoint=step0,step60", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    (sweep,) = (folder / "multirun").iterdir()
    return sweep


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("basic") / "run")


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_results_are_those_of_one_job_after_another(basic: Path, launcher: str, tmp_path: Path) -> None:
    sweep = run(tmp_path / "run", f"hydra/launcher={launcher}")
    assert sweep.name == basic.name
    columns = ["job", "status", "training_step", "lrds", "sads", "sklr"]
    tables = [pd.read_csv(folder / "sweep.csv")[columns] for folder in (basic, sweep)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for job in tables[0]["job"]:
        np.testing.assert_array_equal(np.load(sweep / job / "similarity.npy"), np.load(basic / job / "similarity.npy"))


def test_jobs_at_once_grow_and_capture_once(tmp_path: Path) -> None:
    sweep = run(tmp_path / "run", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    cache = tmp_path / "run" / "cache"
    assert len([path for path in (cache / "models").iterdir() if not path.name.startswith(".")]) == 1
    assert len([path for path in (cache / "captures").iterdir()]) == 2  # one per checkpoint
    record = json.loads(next(sweep.glob("*/run.json")).read_text())
    assert record["status"] == "done"
