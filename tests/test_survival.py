"""Kill the process at any moment and type the command again: the results are those of an undisturbed run (slow)."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

KILLS = 12

pytestmark = pytest.mark.slow


def start(folder: Path, cache: Path) -> subprocess.Popen:
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": str(cache)}
    arguments = [sys.executable, "-m", "lf_experiments", "experiment=smoke", f"hydra.run.dir={folder}"]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def assert_equal_results(first: Path, second: Path) -> None:
    for name in ("samples.csv", "layers.csv", "regions.csv", "perplexity.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(first / name), pd.read_csv(second / name), check_exact=True)
    np.testing.assert_array_equal(np.load(first / "similarity.npy"), np.load(second / "similarity.npy"))
    key_neurons = [pd.read_parquet(folder / "key_neurons.parquet") for folder in (first, second)]
    pd.testing.assert_frame_equal(*key_neurons, check_exact=True)
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    assert start(tmp_path / "undisturbed", tmp_path / "cache1").wait() == 0
    whole = time.monotonic() - began
    rng = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = start(tmp_path / "killed", tmp_path / "cache2")
        try:
            process.wait(timeout=rng.uniform(0.2, 0.9) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        else:  # it got to its end: begin afresh, in new folders, and go on killing
            assert process.returncode == 0
            assert_equal_results(tmp_path / "undisturbed", tmp_path / "killed")
            (tmp_path / "killed").rename(tmp_path / f"killed-{killed}")
            (tmp_path / "cache2").rename(tmp_path / f"cache-{killed}")
        if (tmp_path / "killed" / "run.json").is_file():
            json.loads((tmp_path / "killed" / "run.json").read_text())  # never half a record
    assert start(tmp_path / "killed", tmp_path / "cache2").wait() == 0
    assert_equal_results(tmp_path / "undisturbed", tmp_path / "killed")
    assert [path.name for path in (tmp_path / "killed").rglob(".*") if path.is_file()] == [".lock"]
