"""The languages: one row of `languages.tsv` each, with the name and the script that every table, figure and prompt uses.

A code is that of ISO 639-1 where there is one, else that of ISO 639-3; a second script follows after a hyphen, as in
`zh-Hant`. The other columns say what a published corpus calls the language; empty where the corpus lacks it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lf_experiments.config import InputError


@dataclass(frozen=True)
class Language:
    """One language, and what the published corpora call it."""

    code: str
    name: str
    """In English."""
    script: str
    """Unicode's name of the script; where texts of the language mix or choose between several, all of them joined by `+`."""
    keys: dict[str, str]
    """{corpus: its name of the language}"""


def read_languages(path: Path) -> dict[str, Language]:
    """{code: language}, in the order of the table: the nine of the paper come first, as its figures have them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["code"]: language_of(row) for row in rows}


def language_of(row: dict[str, str]) -> Language:
    """A row of the table."""
    code, name, script, *keys = row.values()
    corpora = list(row)[3:]
    return Language(code, name, script, {corpus: key for corpus, key in zip(corpora, keys, strict=True) if key})


LANGUAGES = read_languages(Path(__file__).with_suffix(".tsv"))


def language_name(code: str) -> str:
    """The English name of a language, or its code where the table has no row for it."""
    return LANGUAGES[code].name if code in LANGUAGES else code


def languages_of(corpus: str) -> list[str]:
    """The codes of the languages that a published corpus has."""
    return [code for code, language in LANGUAGES.items() if corpus in language.keys]


def corpus_keys(group: str, corpus: str, languages: list[str], keys: dict[str, str]) -> dict[str, str]:
    """{language: what a published corpus calls it}: what `keys` says of it, else the table.

    Raises `InputError` for the languages that neither knows; `group` names the configuration group in messages.
    """
    known = {code: LANGUAGES[code].keys[corpus] for code in languages_of(corpus)} | keys
    lacking = [language for language in languages if language not in known]
    if lacking:
        raise InputError(
            "language_set.languages",
            languages,
            f"{group}={corpus} has no {', '.join(lacking)}",
            f"choose among {', '.join(known)}, or say what the corpus calls it: +{group}.keys.{lacking[0]}=NAME",
        )
    return {language: known[language] for language in languages}
