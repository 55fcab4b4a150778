"""Parallel sentences: the same meanings in every language, drawn at random with a seed (sec. 4.1)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.corpus import load_corpus, read_corpus
from lf_experiments.errors import InputError


@dataclass(frozen=True)
class ParallelSentences:
    """Sentence i of each language says `meanings[i]`."""

    meanings: list[str]
    """An identifier per meaning; `line 3 of a.17` where the corpus tells its document, here `a.17`."""
    texts: dict[str, list[str]]
    """{language: one sentence per meaning}"""

    @property
    def languages(self) -> list[str]:
        """The codes of the languages, in the order they were asked for."""
        return list(self.texts)


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


def document_of(meaning: str) -> str | None:
    """The document that a meaning is from, by its identifier; None where that does not say."""
    _, of, document = meaning.partition(" of ")
    return document if of else None


def whole_corpus(dataset: DatasetConfig, languages: list[str]) -> ParallelSentences:
    """Everything that the corpus says in all of the languages."""
    sentences = read_corpus("dataset", dataset, languages)
    meanings = common_meanings(dataset.name, sentences)
    if not load_corpus("dataset", dataset).aligned:
        meanings = sorted(meanings)  # so that the draw does not depend on the order of the files
    return ParallelSentences(meanings, {language: [said[id_] for id_ in meanings] for language, said in sentences.items()})


def common_meanings(name: str, sentences: dict[str, dict[str, str]]) -> list[str]:
    """The meanings for which every language has a sentence, in the order of the first. Raises `InputError` for none."""
    first, *others = sentences.values()
    common = [meaning for meaning in first if all(meaning in said for said in others)]
    if not common:
        counts = ", ".join(f"{language} {len(said)}" for language, said in sentences.items())
        raise InputError(
            "language_set.languages",
            list(sentences),
            f"no sentence of {name} is in all of them; each has {counts}",
            "leave out the languages that have few",
        )
    return common
