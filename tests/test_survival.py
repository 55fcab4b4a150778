"""Stop the process at any moment and type the command again: equal results, and nothing else on the disk was touched (slow)."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STOPS = 10
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
TABLES = ("samples.csv", "layers.csv", "regions.csv", "perplexity.csv")

pytestmark = pytest.mark.slow


class Command:
    """A command with a home, a working directory and neighbours of its own; its results and its cache are beside them."""

    def __init__(self, place: Path, *arguments: str) -> None:
        self.place, self.arguments = place, arguments
        for name in ("home", "work", "temporary", "neighbours/another run", "runs"):
            (place / name).mkdir(parents=True)
        for name in ("samples.csv", ".layers.csv.1.part.csv", "run.json", "notes.txt"):
            (place / "neighbours" / "another run" / name).write_text(name)

    def start(self, folder: str) -> subprocess.Popen:
        """Begin, or go on, in the run folder of this name, which has a cache of its own."""
        environment = {
            **os.environ,
            "LF_EXPERIMENTS_CACHE": str(self.place / "runs" / f"{folder} cache"),
            "HOME": str(self.place / "home"),
            "TMPDIR": str(self.place / "temporary"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        arguments = [argument.format(folder=self.place / "runs" / folder) for argument in self.arguments]
        command = [sys.executable, "-m", "lf_experiments", *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=environment, cwd=self.place / "work", **quiet)

    def surroundings(self) -> dict[str, tuple[int, int]]:
        """Every file, with its size and the time of its last change, and every folder, but for the results and the cache."""
        paths = [path for path in self.place.rglob("*") if "runs" not in path.relative_to(self.place).parts]
        found = {path: path.stat() for path in paths}
        return {str(path): (at.st_size, at.st_mtime_ns) if path.is_file() else (0, 0) for path, at in found.items()}


def runs_in(folder: Path) -> dict[str, Path]:
    """The run folders in a folder, or the folder itself, by name."""
    return {str(path.parent.relative_to(folder)): path.parent for path in sorted(folder.rglob("run.json"))}


def assert_equal_results(first: Path, second: Path) -> None:
    assert runs_in(first).keys() == runs_in(second).keys()
    for name, one in runs_in(first).items():
        other = runs_in(second)[name]
        for table in TABLES:
            pd.testing.assert_frame_equal(pd.read_csv(one / table), pd.read_csv(other / table), check_exact=True)
        np.testing.assert_array_equal(np.load(one / "similarity.npy"), np.load(other / "similarity.npy"))
        key_neurons = [pd.read_parquet(folder / "key_neurons.parquet") for folder in (one, other)]
        pd.testing.assert_frame_equal(*key_neurons, check_exact=True)
        assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
        assert [path.name for path in other.rglob(".*") if path.is_file()] == [".lock"]
    tables = [pd.read_csv(folder / "sweep.csv") for folder in (first, second) if (folder / "sweep.csv").is_file()]
    assert not tables or len(tables) == 2
    if tables:
        pd.testing.assert_frame_equal(*tables, check_exact=True)


FOUR_LANGUAGES = ("language_set.languages=[en,zh,ar,hi]", "probe.threshold=1.5")

COMMANDS = {
    "a run": ("experiment=smoke", "hydra.run.dir={folder}", *FOUR_LANGUAGES),
    "a sweep": (
        "--multirun", "experiment=smoke", "hydra.sweep.dir={folder}", "seed=0,1", *FOUR_LANGUAGES,
        "stages=[capture,compare,probe,deactivate,report]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stop_at_any_moment_costs_nothing_and_touches_nothing(tmp_path: Path, name: str) -> None:
    command = Command(tmp_path, *COMMANDS[name])
    began = time.monotonic()
    assert command.start("undisturbed").wait() == 0
    whole = time.monotonic() - began
    before = command.surroundings()
    rng, stopped, ended = random.Random(0), 0, 0
    while stopped < STOPS:
        process = command.start("stopped")
        try:
            process.wait(timeout=rng.uniform(0.2, 0.9) * whole)
        except subprocess.TimeoutExpired:
            number = SIGNALS[stopped % 2]
            process.send_signal(number)
            # before Python has started and after all is done a signal ends the process as it ends any other
            assert process.wait() in (-number, 128 + number, 0)
            stopped += 1
        else:  # it got to its end: begin afresh, in new folders, and go on
            assert process.returncode == 0
            assert_equal_results(tmp_path / "runs" / "undisturbed", tmp_path / "runs" / "stopped")
            ended += 1
            for folder in ("stopped", "stopped cache"):
                (tmp_path / "runs" / folder).rename(tmp_path / "runs" / f"{folder} {ended}")
        for run in runs_in(tmp_path / "runs" / "stopped").values():
            json.loads((run / "run.json").read_text())  # never half a record
        assert command.surroundings() == before
    assert command.start("stopped").wait() == 0
    assert_equal_results(tmp_path / "runs" / "undisturbed", tmp_path / "runs" / "stopped")
    assert command.surroundings() == before
