"""`run.json`: the record of a run and of the stages done in its folder, read and checked.

Every stage that is done has an entry: `inputs`, the fingerprint of everything it depends on; `files`, {name: {bytes, sha256}}
of what it left; `scalars`, the scores it came to; `seconds` and `peak_memory_bytes`.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from lf_experiments.errors import InputError
from lf_experiments.storage import fingerprint

SCHEMA_VERSION = 2

NAME = "run.json"

TYPES = {"schema_version": int, "status": str, "overrides": list, "config": dict, "stages": dict, "model": dict, "data": dict}
"""The entries without which a record is none."""

NOTHING_READ = fingerprint({})
"""The fingerprint by which version 1 marked a corpus that no stage had read."""

Record = dict[str, Any]


def read_record(folder: Path) -> Record | None:
    """The record in a folder, None where there is none; one of version 1 is returned as if it were of version 2.

    Raises `InputError`, naming the file, for one that is damaged, is of something else, or was written by a later version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise unreadable(path, f"{type(error).__name__}: {error}") from error
    if not is_record(record):
        raise unreadable(path, f"not the record of a run, which has {', '.join(TYPES)}")
    if record["schema_version"] > SCHEMA_VERSION:
        problem = f"a later version of lf_experiments wrote it (schema {record['schema_version']})"
        raise InputError(NAME, path, problem, "use that version, or another folder")
    return brought_up_to_date(record)


def unreadable(path: Path, problem: str) -> InputError:
    remedy = "give another hydra.run.dir, or overwrite=true to compute everything in this folder again"
    return InputError(NAME, path, f"it cannot be read: {problem}", remedy)


def is_record(value: Any) -> bool:
    """Whether a JSON value has the form of a record."""
    if not isinstance(value, dict):
        return False
    has_entries = all(isinstance(value.get(key), kind) for key, kind in TYPES.items())
    return has_entries and all(map(is_stage, value["stages"].values()))


def is_stage(value: Any) -> bool:
    """Whether a JSON value has the form of the entry of a stage whose files are all inside the folder."""
    if not isinstance(value, dict) or not isinstance(value.get("inputs"), str):
        return False
    return all(not PurePath(name).is_absolute() and ".." not in PurePath(name).parts for name in value.get("files", {}))


def brought_up_to_date(record: Record) -> Record:
    """A record of any version in the form of today's: no corpora that were not read, files in every entry."""
    data = {role: corpus for role, corpus in record["data"].items() if corpus.get("fingerprint") != NOTHING_READ}
    stages = {name: {"files": {}, "scalars": {}, **entry} for name, entry in record["stages"].items()}
    return {**record, "data": data, "stages": stages}
