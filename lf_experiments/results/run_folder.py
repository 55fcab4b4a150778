"""The folder of a run: what is written where, what the run depended on, and which stages are done."""

from __future__ import annotations

import logging
import re
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lf_experiments.results.tables import read_json, read_table, write_csv
from lf_experiments.storage import fingerprint, locked, remove_half_written, write_json, written_whole

SCHEMA_VERSION = 1

STAGE_FILES: dict[str, tuple[str, ...]] = {
    "capture": ("samples.csv",),
    "compare": ("similarity.npy", "layers.csv"),
    "probe": ("regions.csv", "key_neurons.parquet"),
    "deactivate": ("perplexity.csv",),
    "cloze": ("cloze.csv",),
    "generate": ("generations.csv",),
    "report": ("report.html",),
}
"""What each stage leaves behind; a stage is done when these are there and were made from the same inputs."""

LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "hydra-core", "numpy", "pandas", "lf_experiments")


class RunFolder:
    """One run: its files, and in `run.json` the record of how they came about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: dict[str, Any] = {}

    @contextmanager
    def recorded(self, config: dict[str, Any], overrides: list[str]) -> Iterator[None]:
        """Keeps `run.json` true while the run lasts: running, then done or failed with the error, and every warning logged.

        The record of stages that an earlier run left in this folder is kept. A second process with the same folder waits for
        the first.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"):
            self.begin(config, overrides)
            keeper = WarningKeeper(self)
            logging.getLogger("lf_experiments").addHandler(keeper)
            try:
                yield
                self.note(status="done")
            except BaseException as error:
                self.note(status="failed", error=f"{type(error).__name__}: {error}")
                raise
            finally:
                logging.getLogger("lf_experiments").removeHandler(keeper)

    def begin(self, config: dict[str, Any], overrides: list[str]) -> None:
        """Write the record of a run that begins."""
        earlier = read_json(self.path / "run.json") if (self.path / "run.json").is_file() else {"stages": {}}
        self.record = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "error": None,
            "command": shlex.join(["python", "-m", "lf_experiments", *overrides]),
            "overrides": overrides,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "config": config,
            "versions": {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}},
            "git_commit": git_commit(),
            "model": {},
            "data": {},
            "stages": earlier["stages"],
            "tracking": None,
            "warnings": [],
        }
        remove_half_written(self.path)
        self.note()

    def note(self, **entries: Any) -> None:
        """Put entries into `run.json`."""
        self.record.update(entries)
        write_json(self.path / "run.json", self.record)

    def stages_done(self) -> dict[str, str]:
        """The stages whose results are there, but the report of them, with the fingerprint of their inputs."""
        return {name: done["inputs"] for name, done in self.record["stages"].items() if name != "report" and self.has(name)}

    def unfinished(self, stage: str, inputs: Any) -> Unfinished:
        """The part of a stage that an interrupted run with the same inputs has left."""
        return Unfinished(self.path / f".{stage}-{fingerprint(inputs)}.json")

    def is_done(self, stage: str, inputs: Any) -> bool:
        """Whether the files of a stage are there and were made from these inputs."""
        done = self.record["stages"].get(stage)
        return done is not None and done["inputs"] == fingerprint(inputs) and self.has(stage)

    def has(self, stage: str) -> bool:
        """Whether the files of a stage are there, whatever they were made from."""
        return all((self.path / name).is_file() for name in STAGE_FILES[stage])

    @contextmanager
    def stage(self, stage: str, inputs: Any) -> Iterator[dict[str, Any]]:
        """Records a stage once its block has ended well: what it was made from, its scalars, its duration and memory.

        The block puts the scalars into the dictionary it is given. `peak_memory_bytes` is the largest resident memory of
        the process so far.
        """
        started = time.perf_counter()
        scalars: dict[str, Any] = {}
        yield scalars
        done = {
            "inputs": fingerprint(inputs),
            "scalars": scalars,
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.note(stages={**self.record["stages"], stage: done})
        self.remove_unfinished(stage)

    def forget(self, stage: str) -> None:
        """Remove the record and the files of a stage, which other inputs than today's have left."""
        self.note(stages={name: done for name, done in self.record["stages"].items() if name != stage})
        for name in STAGE_FILES[stage]:
            (self.path / name).unlink(missing_ok=True)

    def remove_unfinished(self, stage: str) -> None:
        """Remove what interrupted runs have left of a stage that is done now."""
        for path in self.path.glob(f".{stage}-*.json"):
            path.unlink()

    def scalar(self, stage: str, name: str) -> Any:
        """A scalar that a stage left, or None where it was not run."""
        done = self.record["stages"].get(stage)
        return done["scalars"][name] if done else None

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table whole, as CSV or as Parquet."""
        with written_whole(self.path / name) as temporary:
            if temporary.suffix == ".parquet":
                table.to_parquet(temporary, index=False)
            else:
                write_csv(table, temporary)

    def read_table(self, name: str) -> pd.DataFrame:
        """A table of the run."""
        path = self.path / name
        return pd.read_parquet(path) if path.suffix == ".parquet" else read_table(path)

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Write a NumPy array whole."""
        with written_whole(self.path / name) as temporary:
            np.save(temporary, array)


class Unfinished:
    """Rows of a stage, kept while it lasts, so that none is computed again after an interruption."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: list[dict[str, Any]] = read_json(path) if path.is_file() else []

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep all rows there are so far."""
        write_json(self.path, rows)


class WarningKeeper(logging.Handler):
    """Copies every warning of the package into the record of a run."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(logging.WARNING)
        self.run = run

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one warning, once."""
        message = record.getMessage()
        if message not in self.run.record["warnings"]:
            self.run.note(warnings=[*self.run.record["warnings"], message])


def peak_memory_bytes() -> int:
    """The largest resident memory of this process so far.

    Where /proc tells it, it is taken from there: what `getrusage` says may be that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def git_commit() -> str | None:
    """The commit of the source tree the package runs from, `-dirty` behind it where files were changed since.

    None for an installed package, also where it lies in somebody else's repository.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
