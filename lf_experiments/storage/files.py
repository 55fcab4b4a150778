"""Files that are written whole or not at all: into a temporary file beside the target, onto the disk, then renamed."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lf_experiments.storage.disk import named_disk_errors

HOST = re.sub(r"[^\w-]", "-", socket.gethostname().split(".")[0]) or "host"
"""This machine in the names of temporary files: two machines can have processes of the same number."""

TEMPORARY = re.compile(r"\..+\.(?P<host>[\w-]+)\.(?P<process>\d+)\.part(\.[^.]*)?")

ABANDONED_SECONDS = 3600
"""A temporary file of another machine that nobody has written to for so long belongs to a process that has ended."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; the file written there replaces `path` when the block ends well, else it goes.

    The temporary name keeps the suffix, for writers that choose a format by it. What replaces `path` is on the disk before it
    does, so that a power cut leaves the old file or the new one. A full disk, a used-up quota and the like raise an `OSError`
    with `path` in it.
    """
    temporary = temporary_path(path)
    with named_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            flush_to_disk(temporary)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    with suppress(OSError):  # not every file system can flush a folder
        flush_to_disk(path.parent)


def temporary_path(path: Path) -> Path:
    """Where this process writes what is to become `path`."""
    return path.with_name(f".{path.stem}.{HOST}.{os.getpid()}.part{path.suffix}")


def flush_to_disk(path: Path) -> None:
    """Return once the content of a file, or the list of files of a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_half_written(*folders: Path) -> None:
    """Remove the temporary files that killed processes have left in these folders, and nothing else.

    Only names as `written_whole` gives them count, only in the folders themselves, and never those of a process that lives.
    """
    for folder in folders:
        for path in folder.glob(".*.part*"):
            if path.is_file() and is_abandoned(path):
                path.unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether a file is a temporary file of ours whose process has ended."""
    name = TEMPORARY.fullmatch(path.name)
    if name is None:
        return False
    if name["host"] == HOST:
        return not is_alive(int(name["process"]))
    return time.time() - path.stat().st_mtime > ABANDONED_SECONDS


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs, whoever it belongs to."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_line(path: Path, text: str) -> None:
    """Append a line to a text file that may be there. One that a killed process was writing has no line break at its end."""
    with named_disk_errors(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(text + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, readable by people. NaN and infinity are refused: no JSON reader has to accept them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
