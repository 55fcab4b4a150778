"""Locks between processes, of one machine or of several that share a file system."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

log = logging.getLogger(__name__)

SECONDS_BETWEEN_ATTEMPTS = 0.2

LOCKS_MISSING = frozenset({errno.ENOLCK, errno.EOPNOTSUPP})
"""What a file system without locks may say, beside ENOSYS, which `FileLock` knows."""


@contextmanager
def locked(path: Path, folder: Path | None = None) -> Iterator[None]:
    """Holds an exclusive lock on the file `path`; waits for the process that has it.

    The wait is logged once, naming what is used: `folder`, by default that of `path`. The lock of a process that dies is free.
    Where the file system has no locks (Lustre without flock), the existence of a file takes their place. Raises `OSError` where
    the file cannot be written.
    """
    lock = acquired(path, folder or path.parent)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_possible(path: Path) -> Iterator[str | None]:
    """As `locked`, and yields None; where `path` cannot be written, as in a read-only folder, holds no lock and yields why."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquired(path, path.parent)
    except OSError as error:
        yield error.strerror or str(error)
        return
    try:
        yield None
    finally:
        lock.release()


def acquired(path: Path, folder: Path) -> BaseFileLock:
    """A lock that this process now holds."""
    try:
        return waited_for(FileLock(path), folder)
    except OSError as error:
        if error.errno not in LOCKS_MISSING:
            raise
        return waited_for(SoftFileLock(path.with_name(f"{path.name}.soft")), folder)


def waited_for(lock: BaseFileLock, folder: Path) -> BaseFileLock:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that uses %s", folder)
        lock.acquire(poll_interval=SECONDS_BETWEEN_ATTEMPTS)
    return lock
