"""Monolingual text: the documents whose perplexity is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from lf_experiments.config.schema import TextConfig
from lf_experiments.corpora.corpus import read_corpus
from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.errors import InputError


def documents(text: TextConfig, languages: list[str], sentences: ParallelSentences | None = None) -> dict[str, list[str]]:
    """{language: its first `text.documents` documents, or all}; with `text.held_out` those that hold none of the sentences.

    Raises `InputError` for a language the text lacks, an empty file, and where sentences leave no document.
    """
    found = read_corpus("text", text, languages)
    of_language = {language: [] if sentences is None else sentences.texts[language] for language in languages}
    kept = {language: list(islice(without(of_language[language], found[language]), text.documents)) for language in languages}
    if empty := [language for language, texts in kept.items() if not texts]:
        problem = f"every document in {', '.join(empty)} holds one of the sentences of the dataset"
        raise InputError("text.held_out", "true", problem, "choose another text, or fewer dataset.sentences")
    return kept


def without(sentences: Sequence[str], texts: list[str]) -> Iterator[str]:
    """Yields the documents that hold none of some sentences, word for word."""
    for document in texts:
        if not any(sentence in document for sentence in sentences):
            yield document
