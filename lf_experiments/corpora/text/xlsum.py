"""XL-Sum: articles of the BBC in 45 languages (Hasan et al., 2021), the paper's text for perplexity (sec. 4.1).

Published as parquet files, `<key>/<split>/0000.parquet`, and as JSON lines, `<key>_train.jsonl`, `_val.jsonl`, `_test.jsonl`.
"""

from __future__ import annotations

from lf_experiments.config.schema import TextConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.place import Place, fetch_place
from lf_experiments.corpora.tables import columns_of, read_json_lines
from lf_experiments.languages import corpus_keys

SUFFIXES = {"validation": "val"}
"""{split on the hub: its name in the release}, where they differ."""


def read_articles(text: TextConfig, languages: list[str]) -> dict[str, list[str]]:
    """{language: the articles of the split, without empty ones}.

    Raises `InputError` for a language that XL-Sum lacks, or without a file in the folder or the snapshot.
    """
    keys = corpus_keys("text", "xlsum", languages, text.keys)
    place = fetch_place("text", text, [f"{key}/{text.split}/*.parquet" for key in keys.values()])
    texts = {language: texts_of(place, key, text.split, language) for language, key in keys.items()}
    return {language: [article.strip() for article in found if article.strip()] for language, found in texts.items()}


def texts_of(place: Place, key: str, split: str, language: str) -> list[str]:
    """The field `text` of all articles of one language."""
    release = f"{key}_{SUFFIXES.get(split, split)}.jsonl"
    if paths := sorted((place.folder / key / split).glob("*.parquet")):
        return list(columns_of(place, paths, ["text"])["text"])
    if (place.folder / release).is_file():
        return [row["text"] for row in read_json_lines(place, place.folder / release, ["text"])]
    raise place.lacks(f"{key}/{split}/*.parquet nor {release}", language)


CORPUS = Corpus(read_articles, needs=("repository", "split"))
