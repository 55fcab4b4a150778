"""Stories with a right and a wrong ending, the same in every language, for the cross-lingual story cloze (sec. 4.1, app. B).

XStoryCloze (Lin et al., 2022) is published as parquet files, and as tables of text with eight columns and a header. Its stories
are joined by their id.
"""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass

from lf_experiments.config import ClozeConfig, InputError, StorySource
from lf_experiments.corpora.language_files import read_utf8
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES
from lf_experiments.corpora.published import Place, columns_of, located
from lf_experiments.languages import corpus_keys, languages_of

log = logging.getLogger(__name__)

SENTENCES = [f"input_sentence_{number}" for number in range(1, 5)]
ENDINGS = ["sentence_quiz1", "sentence_quiz2"]
RIGHT = "answer_right_ending"
COLUMNS = ["story_id", *SENTENCES, *ENDINGS, RIGHT]

PARQUET = "{key}/{split}/*.parquet"
TABLE = "spring2016.val.{key}.tsv.split_20_80_{split}.tsv"

Rows = dict[str, dict[str, str]]
"""{story id: {column: value}}"""


@dataclass(frozen=True)
class Story:
    """The beginning of a story in one language, and two endings of it in English."""

    name: str
    """The identifier that its translations share."""
    sentences: list[str]
    """The beginning; four sentences in XStoryCloze."""
    endings: tuple[str, str]
    """In English, whatever the language of the beginning."""
    right: int
    """0 or 1: which of the endings is the right one."""


def stories(cloze: ClozeConfig, languages: list[str]) -> dict[str, list[Story]]:
    """{language: the first `cloze.stories` stories, or all}, the same in every language that the task has.

    Languages it lacks are left out, with a warning. Raises `InputError` where none is left, and for files that are missing or
    not of the published form.
    """
    told = told_languages(cloze, languages)
    if cloze.source is StorySource.miniature:
        from lf_experiments.corpora.miniature.stories import miniature_stories

        found = miniature_stories(told)
    else:
        found = xstorycloze_stories(cloze, told)
    return {language: of_language[: cloze.stories] for language, of_language in found.items()}


def told_languages(cloze: ClozeConfig, languages: list[str]) -> list[str]:
    """Those of the languages that the task has."""
    published = [*languages_of("xstorycloze"), *cloze.keys]
    known = MINIATURE_LANGUAGES if cloze.source is StorySource.miniature else published
    told = [language for language in languages if language in known]
    lacking = [language for language in languages if language not in known]
    if not told:
        problem = f"cloze={cloze.name} has none of them"
        raise InputError(
            "language_set.languages", languages, problem, f"choose among {', '.join(known)}, or leave out the stage cloze"
        )
    if lacking:
        log.warning("cloze=%s has no %s: only %s are evaluated", cloze.name, ", ".join(lacking), ", ".join(told))
    return told


def xstorycloze_stories(cloze: ClozeConfig, languages: list[str]) -> dict[str, list[Story]]:
    """{language: stories that begin in it and end in English}: those that all the languages have, in the order of English.

    A story whose right ending is another one in one of the languages is left out; a warning counts them.
    """
    keys = corpus_keys("cloze", "xstorycloze", list(dict.fromkeys(["en", *languages])), cloze.keys)
    place = located(
        "cloze", cloze, [form.format(key=key, split=cloze.split) for form in (PARQUET, TABLE) for key in keys.values()]
    )
    rows = {language: rows_of(place, key, cloze.split, language) for language, key in keys.items()}
    common = [name for name in rows["en"] if all(name in of_language for of_language in rows.values())]
    agreed = [name for name in common if len({of_language[name][RIGHT] for of_language in rows.values()}) == 1]
    if not agreed:
        raise place.error(f"{', '.join(keys)} share no story by its id", "use the task as it is published")
    if len(agreed) < len(common):
        log.warning(
            "%d of %d stories do not have the same right ending in all languages: left out",
            len(common) - len(agreed),
            len(common),
        )
    return {language: [story(name, rows[language][name], rows["en"][name]) for name in agreed] for language in languages}


def story(name: str, told: dict[str, str], english: dict[str, str]) -> Story:
    """One story, its beginning from a language and its endings from English."""
    first, second = (english[ending].strip() for ending in ENDINGS)
    return Story(name, [told[sentence].strip() for sentence in SENTENCES], (first, second), int(english[RIGHT]) - 1)


def rows_of(place: Place, key: str, split: str, language: str) -> Rows:
    """The stories of one language."""
    table = TABLE.format(key=key, split=split)
    if paths := sorted(place.folder.glob(PARQUET.format(key=key, split=split))):
        rows = columns_of(place, paths, COLUMNS).astype(str).to_dict("records")
    elif (place.folder / table).is_file():
        rows = table_rows(place, table)
    else:
        raise place.lacks(f"{key}/{split}/*.parquet nor {table}", language)
    for row in rows:
        if row[RIGHT] not in ("1", "2"):
            problem = f"the right ending of story {row['story_id']} in {language} is {row[RIGHT]}, not 1 or 2"
            raise place.error(problem, "use the task as it is published")
    return {row["story_id"]: row for row in rows}


def table_rows(place: Place, name: str) -> list[dict[str, str]]:
    """The rows of a table of text; its header goes by different names, so that the columns count by their place."""
    text = read_utf8(place.group, place.folder / name)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter="\t") if row][1:]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            problem = f"row {number} of {name} has {len(row)} columns, not {len(COLUMNS)}"
            raise place.error(problem, "use the task as it is published")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
