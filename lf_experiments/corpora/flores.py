"""FLORES-200 and FLORES+: sentences of Wikinews, Wikijunior and Wikivoyage in some 200 languages.

They are published in three forms, and which one it is shows in the files: one table with a column per language
(mteb/FloresBitextMining), a table per language with the fields `id` and `text` (openlanguagedata/flores_plus), and a text file
per language with a sentence per line (the release of FLORES-200).
"""

from __future__ import annotations

from pathlib import Path

from lf_experiments.config import DatasetConfig
from lf_experiments.corpora.language_files import lines, read_utf8
from lf_experiments.corpora.published import Place, columns_of, located, numbered, read_json_lines
from lf_experiments.languages import corpus_keys

FORMS = ("{split}/{key}.{split}", "{split}/{key}.parquet", "{split}/{key}.jsonl")
"""Where the sentences of one language can be."""


def flores_sentences(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {sentence id: sentence}} of a split. Raises `InputError` where the files are in none of the three forms."""
    keys, split = corpus_keys("dataset", "flores", languages, dataset.keys), dataset.split
    tables = [f"{split}.parquet", f"*/{split}-*.parquet", f"*/{split}/*.parquet"]
    place = located("dataset", dataset, tables + [form.format(split=split, key=key) for form in FORMS for key in keys.values()])
    if paths := sorted(path for pattern in tables for path in place.folder.glob(pattern)):
        table = columns_of(place, paths, list(keys.values()))
        return numbered(place, {language: list(table[key]) for language, key in keys.items()})
    files = {language: file_of(place, split, key, language) for language, key in keys.items()}
    if all(path.suffix == f".{split}" for path in files.values()):
        return numbered(place, {language: lines(read_utf8("dataset", path)) for language, path in files.items()})
    return {language: sentences_by_id(place, path) for language, path in files.items()}


def file_of(place: Place, split: str, key: str, language: str) -> Path:
    """The file with the sentences of one language."""
    names = [form.format(split=split, key=key) for form in FORMS]
    for name in names:
        if (place.folder / name).is_file():
            return place.folder / name
    raise place.lacks(f"table {split}.parquet with a column {key}, nor {', '.join(names)}", language)


def sentences_by_id(place: Place, path: Path) -> dict[str, str]:
    """{id: sentence} of the table of one language; empty sentences are left out."""
    if path.suffix == ".parquet":
        rows = columns_of(place, [path], ["id", "text"]).to_dict("records")
    else:
        rows = read_json_lines(place, path, ["id", "text"])
    return {f"id {row['id']}": row["text"].strip() for row in rows if row["text"].strip()}
