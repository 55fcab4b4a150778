"""One error for a disk that takes no more, whichever library met it: an `OSError` with its number and the path.

Python's own writes raise an `OSError` without a path, NumPy one without a number, and the libraries written in Rust put both
into a text.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Disk full, quota used up, file larger than permitted, file system read-only."""

TEXTS = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
}
"""What the errors of libraries say, with the number it stands for."""


@contextmanager
def named_disk_errors(path: Path) -> Iterator[None]:
    """Inside the block an error of `DISK_REFUSALS` becomes an `OSError` with that number and with `path`; others pass."""
    try:
        yield
    except Exception as error:  # libraries raise kinds of their own
        number = refusal_number(error)
        if number is None or (isinstance(error, OSError) and error.filename):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def refusal_number(error: Exception) -> int | None:
    """The number among `DISK_REFUSALS` that an error of any library stands for, or None."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in DISK_REFUSALS else None
    if isinstance(error, OSError) and re.search(r"\d+ requested and \d+ written", str(error)):  # NumPy, of a short write
        return errno.ENOSPC
    return next((number for text, number in TEXTS.items() if text in str(error)), None)
