"""Files written whole or not at all, folders made once, and names made of content. It knows nothing of what it stores."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there replaces `path` when the block ends well, else goes.

    The temporary name keeps the suffix, for writers that choose a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_half_written(folder: Path) -> None:
    """Remove what processes that were killed have left of files they were writing below `folder`."""
    for path in folder.rglob(".*.part*"):
        if path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, readable by people. NaN and infinity are refused: no JSON reader has to accept them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """Yields None where `folder` is there, else an empty folder that becomes `folder` when the block ends well.

    A lock makes processes that need the same folder wait for the one that makes it. The kernel frees the lock of a process
    that dies; what it left half made is removed by the next.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            yield None
            return
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        partial.replace(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file `path`; waits for a process that has it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fingerprint(value: Any) -> str:
    """Sixteen hexadecimal digits that name a JSON value by its content."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def files_fingerprint(paths: list[Path]) -> str:
    """Sixteen hexadecimal digits that name files by their content, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(file_digest(path))
    return digest.hexdigest()[:16]


def file_digest(path: Path) -> bytes:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.digest()
