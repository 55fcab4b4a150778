"""FLORES-200 and FLORES+: sentences of Wikinews, Wikijunior and Wikivoyage in some 200 languages.

They are published in three forms, recognised by their files: one table with a column per language
(mteb/FloresBitextMining), a table per language with the fields `id` and `text` (openlanguagedata/flores_plus), and a text file
per language with a sentence per line (the release of FLORES-200). Each may tell the page that a sentence is from, its document:
in a column or field of its own, the release in `metadata_<split>.tsv`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.language_files import lines, numbered, of_document, read_utf8
from lf_experiments.corpora.place import Place, fetch_place
from lf_experiments.corpora.tables import columns_of, read_json_lines
from lf_experiments.languages import corpus_keys

FORMS = ("{split}/{key}.{split}", "{split}/{key}.parquet", "{split}/{key}.jsonl")
"""Possible files of one language."""
PAGES = ("URL", "url")
"""What the page of a sentence is called."""


def read_flores(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {sentence id: sentence}} of a split; an id ends in ` of PAGE` where that is told.

    Raises `InputError` where the files are in none of the three forms.
    """
    keys, split = corpus_keys("dataset", "flores", languages, dataset.keys), dataset.split
    tables = [f"{split}.parquet", f"*/{split}-*.parquet", f"*/{split}/*.parquet"]
    files = [form.format(split=split, key=key) for form in FORMS for key in keys.values()]
    place = fetch_place("dataset", dataset, [*tables, *files, f"metadata_{split}.tsv"])
    if parts := sorted(path for pattern in tables for path in place.folder.glob(pattern)):
        table = columns_of(place, parts, list(keys.values()), PAGES)
        pages = next((list(table[name]) for name in PAGES if name in table), None)
        return numbered(place, {language: list(table[key]) for language, key in keys.items()}, pages)
    paths = {language: file_of(place, split, key, language) for language, key in keys.items()}
    if all(path.suffix == f".{split}" for path in paths.values()):
        texts = {language: lines(read_utf8("dataset", path)) for language, path in paths.items()}
        return numbered(place, texts, pages_of_lines(place, split))
    rows = {language: rows_of(place, path) for language, path in paths.items()}
    page_of = {row["id"]: page for table in rows.values() for row in table if (page := page_of_row(row))}
    return {language: sentences_by_id(table, page_of) for language, table in rows.items()}


def file_of(place: Place, split: str, key: str, language: str) -> Path:
    """The file with the sentences of one language."""
    names = [form.format(split=split, key=key) for form in FORMS]
    for name in names:
        if (place.folder / name).is_file():
            return place.folder / name
    raise place.lacks(f"table {split}.parquet with a column {key}, nor {', '.join(names)}", language)


def pages_of_lines(place: Place, split: str) -> list[str] | None:
    """The page of every line of the release; None where the folder does not tell them.

    Raises `InputError` for a table of another form.
    """
    path = place.folder / f"metadata_{split}.tsv"
    if not path.is_file():
        return None
    head, *rows = (line.split("\t") for line in lines(read_utf8("dataset", path)))
    if PAGES[0] not in head:
        raise place.error(
            f"{path.name} has no column {PAGES[0]}; it has {', '.join(head)}", "use the corpus as it is published"
        )
    column = head.index(PAGES[0])
    return ["".join(row[column : column + 1]) for row in rows]


def rows_of(place: Place, path: Path) -> list[dict[str, Any]]:
    """The rows of the table of one language, with `id` and `text` and, where it is told, the page."""
    if path.suffix == ".parquet":
        return columns_of(place, [path], ["id", "text"], PAGES).to_dict("records")
    return read_json_lines(place, path, ["id", "text"], PAGES)


def page_of_row(row: dict[str, Any]) -> str:
    """The page that a row tells; empty where it tells none."""
    return next((row[name] for name in PAGES if row.get(name)), "")


def sentences_by_id(rows: list[dict[str, Any]], page_of: dict[Any, str]) -> dict[str, str]:
    """{id: sentence} of the rows of one language; empty sentences are left out.

    `page_of` has the page of each id, whichever language tells it, so that the identifiers are the same in all.
    """
    return {
        of_document(f"id {row['id']}", page_of.get(row["id"], "")): row["text"].strip() for row in rows if row["text"].strip()
    }


CORPUS = Corpus(read_flores, needs=("repository", "split"))
