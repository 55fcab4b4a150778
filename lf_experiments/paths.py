"""Errors of paths that the user gave: a full disk, a folder that cannot be written, a file that cannot be read.

An `OSError` with a path in it becomes an `InputError` that names the key of the configuration which the path comes from.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lf_experiments.errors import InputError
from lf_experiments.storage import writing_problem

NO_HOME = "Could not determine home directory"
"""What pathlib says of `~` where neither HOME nor the list of users names a home folder."""

PATH_KEYS = frozenset({"dir", "downloads", "export", "offload_folder", "path", "root", "tokenizer"})
"""The last parts of the keys of a configuration that hold a path."""

PROBLEMS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "make room, or give another folder with {key}=FOLDER; then run the same command again"),
    errno.EDQUOT: ("your quota on this disk is used up", "make room, or give another folder with {key}=FOLDER; then run again"),
    errno.EFBIG: ("a file may not grow this large here", "raise the limit (ulimit -f), or give {key}=FOLDER on another disk"),
    errno.EROFS: ("the file system is read-only", "give another folder with {key}=FOLDER"),
    errno.EACCES: ("permission denied", "change the permissions, or give another folder with {key}=FOLDER"),
    errno.EPERM: ("permission denied", "change the permissions, or give another folder with {key}=FOLDER"),
    errno.ENOTDIR: ("a file is where a folder should be", "give another folder with {key}=FOLDER, or move the file"),
    errno.EEXIST: ("a file is where a folder should be", "give another folder with {key}=FOLDER, or move the file"),
    errno.EISDIR: ("a folder is where a file should be", "give another folder with {key}=FOLDER, or move the folder"),
    errno.ENAMETOOLONG: ("the name is longer than the file system permits", "give a shorter one with {key}=FOLDER"),
    errno.EIO: ("the disk cannot be read or written", "check the disk, or give another folder with {key}=FOLDER"),
}
"""{number of an error: (the problem, the remedy)}."""


@contextmanager
def explained_path_errors(values: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block an `OSError` of a path that `values` names becomes an `InputError` with the key, the path and a remedy.

    `values` is a configuration as nested dictionaries. Errors of other paths pass: they are not the user's to mend.
    """
    try:
        yield
    except OSError as error:
        explained = explained_path_error(error, values)
        if explained is None:
            raise
        raise explained from error
    except RuntimeError as error:
        if NO_HOME not in str(error):
            raise
        raise no_home(values) from error


def explained_path_error(error: OSError, values: Mapping[str, Any]) -> InputError | None:
    """The `InputError` for an error of a path; None for one that no key names, or whose kind is not in `PROBLEMS`."""
    if not isinstance(error.filename, str) or error.errno not in PROBLEMS:
        return None
    path = Path(error.filename)
    key = key_of_path(path, values)
    if key is None:
        return None
    problem, remedy = PROBLEMS[error.errno]
    return InputError(key, path, problem, remedy.format(key=key))


def key_of_path(path: Path, values: Mapping[str, Any]) -> str | None:
    """The key whose value is the nearest folder that `path` is in, or `path` itself; None where no value is."""
    places = [
        (place, key) for key, place in named_paths(values) if place == path.absolute() or place in path.absolute().parents
    ]
    return max(places, key=lambda found: len(found[0].parts))[1] if places else None


def named_paths(values: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yields (key, absolute path) for every key among nested values that holds one."""
    for key, value in texts(values):
        if key.rpartition(".")[2] in PATH_KEYS:
            yield key, Path(os.path.expanduser(value)).absolute()  # noqa: PTH111 pathlib raises where there is no home folder


def no_home(values: Mapping[str, Any]) -> InputError:
    """The error of a path that begins at the home folder of a user who has none, as in containers."""
    key, value = next(((key, value) for key, value in texts(values) if value.startswith("~")), ("cache.dir", "~"))
    return InputError(key, value, "there is no home folder: HOME is not set", f"set HOME, or give {key}=FOLDER")


def texts(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields (key, value) for every text among nested values."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from texts(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value


def refuse_unwritable(key: str, folder: Path) -> None:
    """Raise `InputError` for a folder that nothing can be written into; it is made where it is not there."""
    problem = writing_problem(folder)
    if problem:
        raise InputError(key, folder, f"nothing can be written there: {problem}", f"give another folder with {key}=FOLDER")
