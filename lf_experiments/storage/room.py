"""Room on the disk for what is kept between runs: what was not used for longest goes first."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from lf_experiments.storage.locks import locked_if_possible

log = logging.getLogger(__name__)

KEPT = (".safetensors", ".jsonl")
"""What the files that are kept end with."""


def mark_used(path: Path) -> None:
    """Note that a kept file was used now, where it can be written."""
    try:
        os.utime(path)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def digest_path(path: Path) -> Path:
    """The file with the SHA-256 of a kept one, where it has one."""
    return path.with_suffix(".sha256")


def uses(folders: Iterable[Path]) -> Iterator[tuple[float, int, Path]]:
    """When every kept file below folders was last used, its bytes, and its path; without one that goes in that moment."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.suffix in KEPT:
                with suppress(FileNotFoundError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path


def evict(*folders: Path, max_gib: float) -> None:
    """Remove the kept files below folders that were not used for longest until the others take at most `max_gib`.

    One process at a time does so, and none where the first folder cannot be written. A process that wants one of them in that
    moment makes it again.
    """
    with locked_if_possible(folders[0].with_name(f".{folders[0].name}.lock")) as problem:
        if problem:
            return
        kept = sorted(uses(folders))
        total = sum(size for _, size, _ in kept)
        for _, size, path in kept:
            if total <= max_gib * 2**30:
                return
            try:
                path.unlink(missing_ok=True)
                digest_path(path).unlink(missing_ok=True)
            except OSError:  # another user's, or read-only
                continue
            total -= size
            log.info("removed %s: the cache holds at most %g GiB (cache.max_gib)", path.name, max_gib)
