"""Whose results a run folder holds: those of other inputs are refused or, where the user allows it, removed by name.

A file is trusted while it is, byte for byte, what the stage left that has it in its entry (`record.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from lf_experiments.errors import InputError
from lf_experiments.storage import file_digest, remove_half_written

log = logging.getLogger(__name__)

Entries = Mapping[str, dict[str, Any]]
"""The entries of stages in `run.json`, by name."""


class Leaving(Protocol):
    """A kind of stage: its name and the files it leaves."""

    name: ClassVar[str]
    leaves: ClassVar[tuple[str, ...]]


class Stage(Leaving, Protocol):
    """A stage with its inputs (`study/stage.py`)."""

    @property
    def fingerprint(self) -> str:
        """The name of its inputs."""


class OtherResults(InputError):
    """A folder holds results of other inputs, and nothing in it was changed."""


def other_results(folder: Path, others: Sequence[Stage], strangers: list[str], differing: str) -> OtherResults:
    """The error that says whose results are there, how their inputs differ, and the way on."""
    if others:
        problem = f"it holds results of other inputs ({', '.join(stage.name for stage in others)}): {differing}"
    else:
        problem = f"it has {', '.join(strangers)}, and no run.json says what they were made from"
    return OtherResults("hydra.run.dir", folder, problem, "give another folder, or overwrite=true to replace what is there")


def holds_other(folder: Path, entries: Entries, stage: Stage) -> bool:
    """Whether the folder holds results of this stage that were made from other inputs."""
    entry = entries.get(stage.name)
    if entry is None or entry["inputs"] == stage.fingerprint:
        return False
    return any((folder / name).exists() for name in files_of(stage, entries))


def unexplained(folder: Path, entries: Entries, interrupted: str | None, stage: Leaving) -> list[str]:
    """The files named as those of a stage that no entry explains. The stage that was interrupted explains its own."""
    if stage.name in entries or stage.name == interrupted:
        return []
    return [name for name in stage.leaves if (folder / name).exists()]


def files_of(stage: Leaving, entries: Entries) -> list[str]:
    """The files of a stage: those it leaves, and those that its entry names."""
    return sorted({*stage.leaves, *entries.get(stage.name, {"files": {}})["files"]})


def remove_results(folder: Path, names: Iterable[str]) -> None:
    """Remove results that the user has allowed to replace. A warning names them."""
    present = [name for name in names if (folder / name).is_file()]
    for name in present:
        (folder / name).unlink()
    if present:
        log.warning("overwrite=true: removed %s, made from other inputs", ", ".join(present))


def remove_leftovers(folder: Path, entries: Entries, stages: Iterable[Leaving]) -> None:
    """Remove what a killed process has left: files it was writing, and those of the stage that it did not end."""
    remove_half_written(folder, folder / "figures")
    for stage in stages:
        for name in stage.leaves if stage.name not in entries else ():
            (folder / name).unlink(missing_ok=True)


def damaged(folder: Path, entries: Entries) -> set[str]:
    """The stages whose files are missing or were changed. A changed file is kept under another name; a warning names it."""
    found = set()
    for stage, entry in entries.items():
        for name, left in entry["files"].items():
            path = folder / name
            if not path.is_file():
                log.warning("%s is missing: %s is not done any more", name, stage)
            elif described(path) != left:
                aside = path.replace(path.with_name(f"{path.stem}.changed{path.suffix}"))
                log.warning("%s was changed since %s wrote it: kept as %s, and not used", name, stage, aside.name)
            else:
                continue
            found.add(stage)
    return found


def described(path: Path) -> dict[str, Any]:
    """The size and the SHA-256 of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path).hex()}
