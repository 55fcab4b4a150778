"""The languages: one row of `languages.tsv` each, with the name and the script that every table, figure and prompt uses.

A code is that of ISO 639-1 where there is one, else that of ISO 639-3; a second script follows after a hyphen, as in
`zh-Hant`. The other columns hold the name that a published corpus has for the language; empty where the corpus lacks it.
"""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import regex

from lf_experiments.errors import InputError

log = logging.getLogger(__name__)

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes that are no character, such as half of one that a byte-level tokenizer wrote."""


@dataclass(frozen=True)
class Language:
    """One language, and the names that the published corpora have for it."""

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


def corpus_keys(
    group: str, corpus: str, languages: list[str], keys: dict[str, str], column: str | None = None
) -> dict[str, str]:
    """{language: the corpus's own name of it}: from `keys`, else from the table's `column`, by default the one named `corpus`.

    `group` is the configuration group that messages name. Raises `InputError` for languages that neither knows, and for names
    that would lead out of the corpus's folder.
    """
    column = column or corpus
    known = {code: LANGUAGES[code].keys[column] for code in languages_of(column)} | keys
    remedy = f"say what the corpus calls it: +{group}.keys.{{language}}=NAME"
    for language in held_languages(f"{group}={corpus}", languages, list(known), remedy):
        refuse_path(f"{group}.keys.{language}", known[language])
    return {language: known[language] for language in languages}


def held_languages(corpus: str, languages: list[str], known: list[str], remedy: str, some: bool = False) -> list[str]:
    """Those of the `languages` that a corpus has, given all it has, `known`. Messages call it `corpus`, as in `dataset=bible`.

    Raises `InputError` for any that it lacks. With `some` it must have at least one, and a warning names those it lacks.
    `{language}` in the remedy stands for the first that it lacks.
    """
    held = [language for language in languages if language in known]
    lacking = [language for language in languages if language not in known]
    if lacking and not (some and held):
        problem = f"{corpus} has {'none of them' if some else 'no ' + ', '.join(lacking)}"
        remedy = f"choose among {', '.join(known)}, or {remedy.format(language=lacking[0])}"
        raise InputError("language_set.languages", languages, problem, remedy)
    if lacking:
        log.warning("%s has no %s: only %s are evaluated", corpus, ", ".join(lacking), ", ".join(held))
    return held


def refuse_path(key: str, name: str) -> None:
    """Raise `InputError` for the name of a language that, as a part of a file name, would lead into another folder."""
    if re.search(r"[/\\\0]", name):
        raise InputError(key, name, "a language's files are named after it: this would lead into another folder", "leave out /")


def script_share(text: str, language: str) -> float | None:
    """The share of the letters of a text that are in the script of a language; broken characters count as in none.

    None where there is no letter, or where the table does not have the language.
    """
    letters = len(regex.findall(rf"[\p{{L}}{REPLACEMENT}]", text))
    if not letters or language not in LANGUAGES:
        return None
    scripts = "".join(rf"\p{{Script={script}}}" for script in LANGUAGES[language].script.split("+"))
    return len(regex.findall(rf"(?=\p{{L}})[{scripts}]", text)) / letters


def same_script(one: str, other: str) -> bool | None:
    """Whether texts of two languages share a script; None if the table lacks one of them."""
    if one not in LANGUAGES or other not in LANGUAGES:
        return None
    return bool(set(LANGUAGES[one].script.split("+")) & set(LANGUAGES[other].script.split("+")))
