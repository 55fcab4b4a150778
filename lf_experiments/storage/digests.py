"""Names made of content: of values, of files, and of large files that are not read again while they stay as they are."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lf_experiments.storage.files import write_json

LARGE_BYTES = 1 << 24
"""From 16 MiB on the digest of a file is worth keeping."""

SETTLED_NS = 2 * 10**9
"""A file that was changed less than two seconds ago may change again without a new time stamp."""


def fingerprint(value: Any) -> str:
    """Sixteen hexadecimal digits that name a JSON value by its content."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> bytes:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.digest()


def files_fingerprint(paths: Iterable[Path], digest_of: Callable[[Path], bytes] = file_digest) -> str:
    """Sixteen hexadecimal digits that name files by their content, in the order given; `digest_of` gives that of each."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(digest_of(path))
    return digest.hexdigest()[:16]


class DigestStore:
    """The SHA-256 of files, kept in a folder so that an unchanged large file is read once: 140 GB take minutes to read.

    A file counts as unchanged while its path, size, inode and both time stamps (of content and of inode) are the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def digest(self, path: Path) -> bytes:
        """The SHA-256 of a file: the one kept, or read now and kept. Where nothing can be kept, it is read each time."""
        path = path.resolve()
        state = state_of(path)
        if state["size"] < LARGE_BYTES:
            return file_digest(path)
        kept = self.folder / f"{fingerprint(str(path))}.json"
        found = read_entry(kept)
        if found.get("state") == state:
            return bytes.fromhex(found["sha256"])
        digest = file_digest(path)
        if state_of(path) == state and time.time_ns() - state["changed_ns"] > SETTLED_NS:
            with suppress(OSError):
                write_json(kept, {"path": str(path), "state": state, "sha256": digest.hex()})
        return digest


def state_of(path: Path) -> dict[str, int]:
    """What changes with the content of a file."""
    stat = path.stat()
    return {
        "size": stat.st_size,
        "inode": stat.st_ino,
        "written_ns": stat.st_mtime_ns,
        "changed_ns": stat.st_ctime_ns,
    }


def read_entry(path: Path) -> dict[str, Any]:
    """A kept digest with the state it is of; empty where there is none that can be read."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    well_formed = isinstance(entry, dict) and re.fullmatch("[0-9a-f]{64}", str(entry.get("sha256")))
    return entry if well_formed else {}
