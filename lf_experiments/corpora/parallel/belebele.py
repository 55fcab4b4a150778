"""Belebele: passages of FLORES-200 in 122 languages and scripts (Bandarkar et al., 2023), four sentences long on average.

One file of JSON lines per language, `data/<key>.jsonl`, where a line is a question about a passage. `link`, the page that the
passage is from, is the same in every language; the questions are not read.
"""

from __future__ import annotations

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.place import Place, fetch_place
from lf_experiments.corpora.tables import read_json_lines
from lf_experiments.languages import corpus_keys

FORMS = ("data/{key}.jsonl", "{key}.jsonl")
"""Possible files of one language: of the repository on the hub, and of the release."""


def read_belebele(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {link: passage}}, its languages called as in FLORES. Raises `InputError` for languages without a file."""
    keys = corpus_keys("dataset", "belebele", languages, dataset.keys, column="flores")
    place = fetch_place("dataset", dataset, [form.format(key=key) for form in FORMS for key in keys.values()])
    return {language: passages_of(place, key, language) for language, key in keys.items()}


def passages_of(place: Place, key: str, language: str) -> dict[str, str]:
    """{link: passage} of one language, each passage once; a link with several passages is left out."""
    paths = [place.folder / form.format(key=key) for form in FORMS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise place.lacks(" nor ".join(form.format(key=key) for form in FORMS), language)
    said: dict[str, set[str]] = {}
    for row in read_json_lines(place, path, ["link", "flores_passage"]):
        said.setdefault(row["link"], set()).add(row["flores_passage"].strip())
    return {link: passage for link, (passage, *others) in said.items() if passage and not others}


CORPUS = Corpus(read_belebele, needs=("repository",))
