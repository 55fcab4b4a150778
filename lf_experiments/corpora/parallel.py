"""Parallel sentences: the same meanings in every language, drawn at random with a seed (sec. 4.1)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lf_experiments.config import DatasetConfig, InputError, SentenceSource
from lf_experiments.corpora.bible import verses
from lf_experiments.corpora.flores import flores_sentences
from lf_experiments.corpora.language_files import lines, read_language_file, refuse_misaligned
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, meanings, sentence
from lf_experiments.corpora.ntrex import ntrex_sentences

PUBLISHED = {
    SentenceSource.bible: verses,
    SentenceSource.flores: flores_sentences,
    SentenceSource.ntrex: ntrex_sentences,
}
"""How the published corpora are read: each function returns {language: {meaning: sentence}}."""


@dataclass(frozen=True)
class ParallelSentences:
    """Sentence i of each language says `meanings[i]`."""

    meanings: list[str]
    """An identifier per meaning."""
    texts: dict[str, list[str]]
    """{language: one sentence per meaning}"""


def drawn_sentences(dataset: DatasetConfig, languages: list[str], seed: int) -> ParallelSentences:
    """`dataset.sentences` meanings drawn without repetition, in the same order in all languages.

    Raises `InputError` for a language the corpus lacks, misaligned files, empty sentences, and a corpus too small.
    """
    corpus = whole_corpus(dataset, languages)
    available = len(corpus.meanings)
    if dataset.sentences > available:
        raise InputError(
            "dataset.sentences",
            dataset.sentences,
            f"the corpus {dataset.name} has only {available} sentences per language",
            f"ask for at most {available}",
        )
    drawn = random.Random(seed).sample(range(available), dataset.sentences)
    texts = {language: [corpus.texts[language][i] for i in drawn] for language in languages}
    return ParallelSentences([corpus.meanings[i] for i in drawn], texts)


def whole_corpus(dataset: DatasetConfig, languages: list[str]) -> ParallelSentences:
    """Everything that the corpus says in all of the languages."""
    if dataset.source is SentenceSource.miniature:
        return miniature_corpus(languages)
    if dataset.source is SentenceSource.files:
        return aligned_files(dataset.root, languages)
    return joined(dataset.name, PUBLISHED[dataset.source](dataset, languages))


def joined(name: str, sentences: dict[str, dict[str, str]]) -> ParallelSentences:
    """The meanings that every language has a sentence for, sorted, so that the draw does not depend on the order of files."""
    common = sorted(set.intersection(*(set(said) for said in sentences.values())))
    if not common:
        counts = ", ".join(f"{language} {len(said)}" for language, said in sentences.items())
        raise InputError(
            "language_set.languages",
            list(sentences),
            f"no sentence of {name} is in all of them; each has {counts}",
            "leave out the languages that have few",
        )
    return ParallelSentences(common, {language: [said[id_] for id_ in common] for language, said in sentences.items()})


def miniature_corpus(languages: list[str]) -> ParallelSentences:
    """The meanings of the miniature world that are kept for the analysis."""
    refuse_foreign("dataset", languages)
    kept = meanings("analysis")
    texts = {language: [sentence(meaning, language) for meaning in kept] for language in languages}
    return ParallelSentences([meaning.name for meaning in kept], texts)


def refuse_foreign(key: str, languages: list[str]) -> None:
    """Raise `InputError` for languages that the miniature world does not speak."""
    foreign = [language for language in languages if language not in MINIATURE_LANGUAGES]
    if foreign:
        raise InputError(
            "language_set.languages",
            languages,
            f"{key}=miniature has no {', '.join(foreign)}",
            f"choose among {', '.join(MINIATURE_LANGUAGES)}, or give {key}=files {key}.root=FOLDER",
        )


def aligned_files(root: str, languages: list[str]) -> ParallelSentences:
    """The lines of `<root>/<code>.txt`; line i says the same in every file."""
    texts = {language: lines(read_language_file("dataset", root, language)) for language in languages}
    refuse_misaligned("dataset.root", root, texts)
    for language, sentences in texts.items():
        for number, text in enumerate(sentences, start=1):
            if not text.strip():
                raise InputError(
                    "dataset.root", root, f"line {number} of {language}.txt is empty", "take the line out of all files"
                )
    return ParallelSentences([f"line {number}" for number in range(1, len(texts[languages[0]]) + 1)], texts)
