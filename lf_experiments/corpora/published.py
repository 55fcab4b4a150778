"""Published corpora: where their files are, in a folder of the user or downloaded, and the tables among them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet

from lf_experiments.config import ClozeConfig, DatasetConfig, InputError, TextConfig
from lf_experiments.corpora.language_files import given_folder, lines, read_utf8, refuse_misaligned
from lf_experiments.hub import dataset_snapshot


@dataclass(frozen=True)
class Place:
    """Where the files of a corpus are, and how messages name that."""

    group: str
    """The configuration group: dataset, text or cloze."""
    key: str
    value: str
    folder: Path

    def error(self, problem: str, remedy: str) -> InputError:
        """The error of a corpus that cannot be used as it is there."""
        return InputError(self.key, self.value, problem, remedy)

    def lacks(self, files: str, language: str) -> InputError:
        """The error of a corpus that does not have any of the `files` that a language could be in."""
        get = "add it" if self.key.endswith(".root") else "run it once with a network"
        return self.error(f"it has no {files}", f"{get}, or leave {language} out of language_set.languages")


def located(group: str, corpus: DatasetConfig | TextConfig | ClozeConfig, patterns: list[str]) -> Place:
    """The given folder of a corpus, or the snapshot of its repository on the Hugging Face hub with the files that match.

    Raises `InputError` where there is no such folder, repository or revision, or none within reach.
    """
    if corpus.root:
        return Place(group, f"{group}.root", corpus.root, given_folder(group, corpus.root, f"the files of {corpus.name}"))
    revision = corpus.revision or "main"
    folder = dataset_snapshot(group, corpus.repository, revision, tuple(patterns))
    return Place(group, f"{group}.repository", f"{corpus.repository}@{revision}", folder)


def columns_of(place: Place, paths: list[Path], columns: list[str]) -> pd.DataFrame:
    """Columns of a table that is stored in one or more parquet files. Raises `InputError` for other files or columns."""
    return pd.concat([columns_of_file(place, path, columns) for path in paths], ignore_index=True)


def columns_of_file(place: Place, path: Path, columns: list[str]) -> pd.DataFrame:
    """Columns of one parquet file; text that is missing is empty."""
    try:
        held = parquet.read_schema(path).names
    except pyarrow.ArrowInvalid as error:
        raise place.error(f"{path} is no parquet file: {error}", "download it again") from error
    missing = [column for column in columns if column not in held]
    if missing:
        raise place.error(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(held)}", "use the corpus as it is published"
        )
    return pd.read_parquet(path, columns=columns).fillna("")


def read_json_lines(place: Place, path: Path, fields: list[str]) -> list[dict[str, Any]]:
    """The objects of a file with one in each line. Raises `InputError` for lines that are none or lack one of the fields."""
    rows = []
    for number, line in enumerate(lines(read_utf8(place.group, path)), start=1):
        try:
            row = json.loads(line)
            rows.append({field: row[field] for field in fields})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            problem = f"line {number} of {path.name} is no JSON object with {', '.join(fields)}: {error}"
            raise place.error(problem, "use the corpus as it is published") from error
    return rows


def numbered(place: Place, texts: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """{language: {"line N": sentence}} of sentences that are aligned by their number; empty ones are left out."""
    refuse_misaligned(place.key, place.value, texts)
    return {
        language: {f"line {number}": text.strip() for number, text in enumerate(sentences, start=1) if text.strip()}
        for language, sentences in texts.items()
    }
