"""Folders that are made once, by one of the processes that need them, and folders that cannot be written to."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lf_experiments.storage.disk import named_disk_errors
from lf_experiments.storage.files import flush_to_disk, temporary_path
from lf_experiments.storage.locks import locked

LEAST_BYTES = 1 << 16
"""With less room than 64 KiB a disk counts as full."""


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """Yields None where `folder` is there, else an empty folder that becomes `folder` when the block ends well.

    A folder that is there needs no lock, and may be read-only. Processes that need one that is not there wait for the one that
    makes it; what a process that died has left half made is removed by the next. A full disk raises an `OSError` with `folder`.
    """
    if folder.is_dir():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock"), folder):
        if folder.is_dir():
            yield None
            return
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with named_disk_errors(folder):
            partial.mkdir()
            yield partial
            for path in partial.rglob("*"):
                flush_to_disk(path)
            partial.replace(folder)


def writing_problem(folder: Path) -> str | None:
    """Why nothing can be written into a folder, which is made where it is not there; None where it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(folder / "probe")
        probe.touch()
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return str(error.strerror)
    return os.strerror(errno.ENOSPC) if free < LEAST_BYTES else None
