"""Whole runs by several processes: the numbers of one process, one run folder, errors that end in time (slow)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

STUDY = [
    "tracking=none",
    "stages=[capture,compare,probe,deactivate]",
    "language_set.languages=[en,fr,ar,zh]",
    "dataset.sentences=10",
    "probe.threshold=1.2",
    "control.draws=1",
    "text.window=64",
    "cache.enabled=false",
]
LAUNCHERS = {  # each starts two or four processes
    "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "lf_experiments"],
    "processes": ["-m", "lf_experiments", "runtime.num_processes=2"],
    "shards": ["-m", "lf_experiments", "runtime.tensor_parallel=2"],
    "shards of torchrun": [
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "4",
        "-m",
        "lf_experiments",
        "runtime.tensor_parallel=2",
    ],
}


def run(folder: Path, command: list[str], *arguments: str, study: list[str] = STUDY) -> subprocess.CompletedProcess:
    """The command in a folder of its own; one that hangs fails."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": str(folder / "cache")}
    whole = [sys.executable, *command, *arguments, *study]
    return subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, model_folders: dict[str, Path]) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    found = run(folder, ["-m", "lf_experiments"], "model=local", f"model.path={model_folders['llama']}", "hydra.run.dir=out")
    assert found.returncode == 0, found.stderr
    return folder / "out"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_results_are_those_of_one_process(alone: Path, launcher: str, model_folders: dict[str, Path], tmp_path: Path) -> None:
    model = ["model=local", f"model.path={model_folders['llama']}"]
    found = run(tmp_path, LAUNCHERS[launcher], *model)
    assert found.returncode == 0, found.stderr
    (out,) = (tmp_path / "outputs").glob("*/*")  # one run folder
    metrics, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (out, alone))
    for name in ("lrds", "sads"):
        assert metrics[name] == pytest.approx(expected[name], abs=1e-6)
    assert metrics["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-6)
    similarity, expected_similarity = (np.load(folder / "similarity.npy") for folder in (out, alone))
    np.testing.assert_allclose(similarity, expected_similarity, rtol=0, atol=1e-6)
    tables = [pd.read_csv(folder / "perplexity.csv")[["deactivated", "draw", "language", "tokens"]] for folder in (out, alone)]
    pd.testing.assert_frame_equal(*tables)
    assert found.stdout.count("how far neurons tell languages apart") == 1  # only the first one speaks


@pytest.mark.parametrize("launcher", ["processes", "shards of torchrun"])
def test_what_a_user_can_mend_ends_all_processes(launcher: str, tmp_path: Path) -> None:
    found = run(tmp_path, LAUNCHERS[launcher], "model=local", f"model.path={tmp_path / 'nowhere'}")
    assert found.returncode == 1
    assert "there is no such folder" in found.stderr


def test_help_needs_no_process_but_the_first(tmp_path: Path) -> None:
    found = run(tmp_path, LAUNCHERS["accelerate"], "--help")
    assert found.returncode == 0, found.stderr
    assert "model=" in found.stdout


def test_the_jobs_of_a_sweep_share_the_processes(model_folders: dict[str, Path], tmp_path: Path) -> None:
    model = ["model=local", f"model.path={model_folders['llama']}"]
    found = run(tmp_path, LAUNCHERS["accelerate"], "--multirun", *model, "seed=0,1")
    assert found.returncode == 0, found.stderr
    (sweep,) = (tmp_path / "multirun").iterdir()
    assert list(pd.read_csv(sweep / "sweep.csv")["status"]) == ["done", "done"]


def test_a_run_goes_on_with_other_processes(alone: Path, model_folders: dict[str, Path], tmp_path: Path) -> None:
    model = ["model=local", f"model.path={model_folders['llama']}", "hydra.run.dir=out"]
    found = run(tmp_path, ["-m", "lf_experiments"], *model, study=[*STUDY, "stages=[capture,compare]"])
    assert found.returncode == 0, found.stderr
    before = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    found = run(tmp_path, LAUNCHERS["shards"], *model)
    assert found.returncode == 0, found.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["stages"]["compare"] == before["compare"]  # not done again
    assert record["config"]["runtime"]["tensor_parallel"] == 2
    metrics, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "out", alone))
    assert metrics["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-6)
