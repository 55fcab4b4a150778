"""XStoryCloze (Lin et al., 2022): the paper's story task, in eleven languages (sec. 4.1, app. B).

Published as parquet files, and as tab-separated text of eight columns with a header. The stories are joined by their id.
"""

from __future__ import annotations

import csv
import io
import logging

from lf_experiments.config.schema import ClozeConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.language_files import read_utf8
from lf_experiments.corpora.place import Place, fetch_place
from lf_experiments.corpora.stories import told_languages
from lf_experiments.corpora.story import Story
from lf_experiments.corpora.tables import columns_of
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


def read_xstorycloze(cloze: ClozeConfig, languages: list[str]) -> dict[str, list[Story]]:
    """{language: stories that begin in it and end in English}: those that all the languages have, in the order of English."""
    told = told_languages(cloze, languages, [*languages_of("xstorycloze"), *cloze.keys])
    keys = corpus_keys("cloze", "xstorycloze", list(dict.fromkeys(["en", *told])), cloze.keys)
    patterns = [form.format(key=key, split=cloze.split) for form in (PARQUET, TABLE) for key in keys.values()]
    place = fetch_place("cloze", cloze, patterns)
    rows = {language: rows_of(place, key, cloze.split, language) for language, key in keys.items()}
    names = agreed_stories(place, rows)
    return {language: [story(name, rows[language][name], rows["en"][name]) for name in names] for language in told}


def agreed_stories(place: Place, rows: dict[str, Rows]) -> list[str]:
    """The ids of the stories that all languages have with the same right ending; a warning counts those with another one.

    Raises `InputError` where there is none.
    """
    common = [name for name in rows["en"] if all(name in of_language for of_language in rows.values())]
    agreed = [name for name in common if len({of_language[name][RIGHT] for of_language in rows.values()}) == 1]
    if not agreed:
        raise place.error(f"{', '.join(rows)} share no story by its id", "use the task as it is published")
    if len(agreed) < len(common):
        log.warning(
            "%d of %d stories do not have the same right ending in all languages: left out",
            len(common) - len(agreed),
            len(common),
        )
    return agreed


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
    """The rows of a tab-separated table. Headers differ between releases, so that columns are known by their position."""
    text = read_utf8(place.group, place.folder / name)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter="\t") if row][1:]
    except csv.Error as error:
        raise place.error(f"{name} is no table: {error}", "use the task as it is published") from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            problem = f"row {number} of {name} has {len(row)} columns, not {len(COLUMNS)}"
            raise place.error(problem, "use the task as it is published")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


CORPUS = Corpus(read_xstorycloze, needs=("repository", "split"))
