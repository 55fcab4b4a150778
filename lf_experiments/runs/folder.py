"""The folder of a run: the files that its stages leave, and the record of how they came about.

A stage is done when its entry in `run.json` has the same inputs and its files are, byte for byte, what it left. Results of
other inputs are never removed unless the user allows it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lf_experiments.errors import InputError
from lf_experiments.runs.claim import (
    Leaving,
    OtherResults,
    Stage,
    damaged,
    described,
    files_of,
    holds_other,
    other_results,
    remove_leftovers,
    remove_results,
    unexplained,
)
from lf_experiments.runs.differences import differences
from lf_experiments.runs.metrics import METRICS, Metrics
from lf_experiments.runs.provenance import peak_memory_bytes, provenance
from lf_experiments.runs.record import NAME, SCHEMA_VERSION, Record, read_record
from lf_experiments.runs.tables import read_table, write_table
from lf_experiments.runs.unfinished import Unfinished
from lf_experiments.runs.warnings import warnings_handed_to
from lf_experiments.storage import locked, write_json, written_whole

log = logging.getLogger(__name__)


class RunFolder:
    """One run: its files, and in `run.json` the record of how they came about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: Record = {"warnings": []}
        self.earlier: Record | None = None
        """The record that was found in the folder; it stays on the disk until the folder is claimed."""
        self.undone: set[str] = set()
        """Stages whose files are missing or were changed."""
        self.further_files: list[str] = []
        """Files that the running stage leaves beside those it always leaves."""

    # The record -------------------------------------------------------------------------------------------------------

    @contextmanager
    def recorded(
        self, config: dict[str, Any], overrides: list[str], overwrite: bool = False, is_job: bool = False
    ) -> Iterator[None]:
        """Keeps `run.json` true while the run lasts: running, then done or failed with the error, and every warning logged.

        A second process with the same folder waits for the first. Raises `InputError` for a record that cannot be read, unless
        `overwrite`. After `OtherResults` the record is what it was before, except that a job of a sweep has failed.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / ".lock"), warnings_handed_to(self.warn):
            found = (self.path / NAME).read_bytes() if (self.path / NAME).is_file() else None
            self.begin(config, overrides, overwrite)
            try:
                yield
                self.note(status="done")
            except BaseException as error:
                if isinstance(error, OtherResults) and not is_job:
                    self.restore(found)
                    raise
                self.note(status="failed", error=f"{type(error).__name__}: {error}")
                raise

    def begin(self, config: dict[str, Any], overrides: list[str], overwrite: bool) -> None:
        """Start the record of this run; the entries of stages that an earlier run left are kept."""
        try:
            self.earlier = read_record(self.path)
        except InputError as error:
            if not overwrite:
                raise
            log.warning("overwrite=true: %s is replaced: %s", NAME, error.parts[2])
        self.record = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "error": None,
            "stage": None,
            **provenance(config, overrides),
            "model": {},
            "data": {},
            "stages": dict(self.earlier["stages"]) if self.earlier else {},
            "tracking": None,
            "warnings": self.record["warnings"],
        }
        self.note()

    def note(self, **entries: Any) -> None:
        """Put entries into `run.json`. Until the folder is claimed, only the status of an earlier record changes."""
        self.record.update(entries)
        status = {key: self.record[key] for key in ("status", "error")}
        write_json(self.path / NAME, {**self.earlier, **status} if self.earlier else self.record)

    def warn(self, message: str) -> None:
        """Put a warning into `run.json`, once."""
        if message not in self.record["warnings"]:
            self.record["warnings"].append(message)
            if "status" in self.record:
                self.note()

    def restore(self, found: bytes | None) -> None:
        """Make `run.json` what it was before this run."""
        if found is None:
            (self.path / NAME).unlink()
        else:
            with written_whole(self.path / NAME) as temporary:
                temporary.write_bytes(found)

    # The stages -------------------------------------------------------------------------------------------------------

    def refuse_others(self, stages: Sequence[Stage], shown: Leaving) -> None:
        """Raise `OtherResults` where the folder holds results of other inputs, or files that no record explains."""
        others, strangers = self.others(stages), self.strangers([*stages, shown])
        if others or strangers:
            differing = differences(self.earlier or {}, self.record) if others else ""
            raise other_results(self.path, others, strangers, differing)

    def others(self, stages: Sequence[Stage]) -> list[Stage]:
        """The stages of which the folder holds results of other inputs."""
        return [stage for stage in stages if holds_other(self.path, self.record["stages"], stage)]

    def strangers(self, kinds: Sequence[Leaving]) -> list[str]:
        """The files named as results that no record explains."""
        entries, interrupted = self.record["stages"], (self.earlier or {}).get("stage")
        found = [name for kind in kinds for name in unexplained(self.path, entries, interrupted, kind)]
        return [*found, METRICS] if self.earlier is None and (self.path / METRICS).exists() else found

    def claim(self, stages: Sequence[Stage], shown: Leaving, overwrite: bool = False) -> None:
        """Make the folder that of a run with these stages; `shown` is the stage that is made of what the others leave.

        Raises `OtherResults` as `refuse_others`. With `overwrite` what would be refused is removed, and what was made of it. A
        stage is undone where a file of it was changed.
        """
        if not overwrite:
            self.refuse_others(stages, shown)
        entries = self.record["stages"]
        others = self.others(stages)
        remove_results(self.path, self.strangers([*stages, shown]))
        for kind in (*others, shown) if others else ():
            remove_results(self.path, files_of(kind, entries))
            entries.pop(kind.name, None)
        remove_leftovers(self.path, entries, [*stages, shown])
        self.undone, self.earlier = damaged(self.path, entries), None
        self.note()

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[dict[str, Any]]:
        """Records a stage once its block has ended well: its inputs, files, scores, duration and memory.

        The block puts the scores into the dictionary it is given. `peak_memory_bytes` is the largest resident memory of the
        process so far.
        """
        started = time.perf_counter()
        scalars: dict[str, Any] = {}
        self.further_files = []
        self.undone.discard(stage.name)
        self.note(stage=stage.name, stages={name: entry for name, entry in self.record["stages"].items() if name != stage.name})
        yield scalars
        entry = {
            "inputs": stage.fingerprint,
            "files": {name: described(self.path / name) for name in (*stage.leaves, *self.further_files)},
            "scalars": scalars,
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.note(stage=None, stages={**self.record["stages"], stage.name: entry})
        for path in self.path.glob(f".{stage.name}-*.json*"):
            path.unlink()

    def is_done(self, stage: Stage) -> bool:
        """Whether the files of a stage are there and were made from these inputs."""
        entry = self.done().get(stage.name)
        return entry is not None and entry["inputs"] == stage.fingerprint

    def done(self) -> dict[str, dict[str, Any]]:
        """The entries of the stages whose files are there as they left them."""
        return {
            name: entry
            for name, entry in self.record["stages"].items()
            if name not in self.undone and all((self.path / file).is_file() for file in entry["files"])
        }

    def unfinished(self, stage: Stage) -> Unfinished:
        """The part of a stage that an interrupted run with the same inputs has left."""
        return Unfinished(self.path / f".{stage.name}-{stage.fingerprint}.jsonl")

    # The files --------------------------------------------------------------------------------------------------------

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table whole, as CSV or as Parquet."""
        write_table(self.path / name, table)

    def read_table(self, name: str) -> pd.DataFrame:
        """A table of the run."""
        path = self.path / name
        return pd.read_parquet(path) if path.suffix == ".parquet" else read_table(path)

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Write a NumPy array whole."""
        with written_whole(self.path / name) as temporary:
            np.save(temporary, array)

    def read_array(self, name: str) -> np.ndarray:
        """A NumPy array of the run."""
        return np.load(self.path / name)

    def write_metrics(self, metrics: Metrics) -> None:
        """Write `metrics.json` once there is a result, and remove it where there is none any more."""
        if self.done():
            write_json(self.path / METRICS, metrics.as_json())
        else:
            (self.path / METRICS).unlink(missing_ok=True)
