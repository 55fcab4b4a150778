"""Room on the disk for what is kept between runs: what was not used for longest goes first."""

from __future__ import annotations

import errno
import logging
import os
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


def evict(*folders: Path, max_gib: float) -> None:
    """Remove the kept files below folders that were not used for longest until the others take at most `max_gib`.

    One process at a time does so, and none where the first folder cannot be written. A process that wants one of them in that
    moment makes it again.
    """
    with locked_if_possible(folders[0].with_name(f".{folders[0].name}.lock")) as problem:
        if problem:
            return
        kept = [path for folder in folders for path in folder.rglob("*") if path.suffix in KEPT]
        kept.sort(key=lambda path: path.stat().st_mtime)
        sizes = {path: path.stat().st_size for path in kept}
        total = sum(sizes.values())
        for path in kept:
            if total <= max_gib * 2**30:
                return
            try:
                path.unlink()
                digest_path(path).unlink(missing_ok=True)
            except OSError:  # another user's, or read-only
                continue
            total -= sizes[path]
            log.info("removed %s: the cache holds at most %g GiB (cache.max_gib)", path.name, max_gib)
