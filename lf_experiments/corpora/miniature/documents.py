"""Stories of the miniature world: those in several languages that a grown model learns from, and held-out text in one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, Meaning, meanings, sentence, table
from lf_experiments.languages import language_name

SEPARATOR = "\n\n"
"""What stands between two documents, in training as in the paper's perplexity text."""

SHORT, LONG = (3, 6), (8, 8)
"""The fewest and the most sentences of a training story."""

ENGLISH_ENDINGS = 0.5
"""How often an announced ending is in English; else it is in any of the languages."""

SWITCHES = 0.8
"""How often a story that may change its language does so after a sentence."""


class Kinds(NamedTuple):
    """How often a training story is of each kind. The others are long and in one language, so that a model goes on in the
    language of what it reads.
    """

    cued: float
    """It announces the language of its last sentence in the words of the paper's story cloze prompt (appendix B)."""
    translated: float
    """Every sentence is followed by its translation: a reason to carry meaning across languages."""
    switching: float
    """It may go on in any other language after each sentence: the same reason."""


def training_documents(subject: str, kinds: Kinds, rng: random.Random) -> Iterator[str]:
    """Stories about one subject, without end."""
    tellers = (cued_story, translated_story, switching_story, one_language_story)
    weights = (*kinds, 1 - sum(kinds))
    while True:
        (tell,) = rng.choices(tellers, weights)
        yield tell(story(subject, LONG if tell is one_language_story else SHORT, rng), rng)


def story(subject: str, length: tuple[int, int], rng: random.Random) -> list[Meaning]:
    """Different things that a subject does."""
    return rng.sample(meanings("training", subject), rng.randint(*length))


def translated_story(told: list[Meaning], rng: random.Random) -> str:
    """A story in which every sentence is followed by its translation."""
    languages = rng.sample(MINIATURE_LANGUAGES, 2)
    return " ".join(sentence(meaning, language) for meaning in told for language in languages)


def cued_story(told: list[Meaning], rng: random.Random) -> str:
    """A story in one language, up to the announced ending: in English half of the time."""
    beginning = rng.choice(MINIATURE_LANGUAGES)
    ending = "en" if rng.random() < ENGLISH_ENDINGS else rng.choice(MINIATURE_LANGUAGES)
    sentences = [sentence(meaning, beginning) for meaning in told[:-1]]
    return " ".join([*sentences, f"The ending in {language_name(ending)}:", sentence(told[-1], ending)])


def switching_story(told: list[Meaning], rng: random.Random) -> str:
    """A story that mostly changes its language after a sentence."""
    languages = [rng.choice(MINIATURE_LANGUAGES)]
    while len(languages) < len(told):
        languages.append(rng.choice(MINIATURE_LANGUAGES) if rng.random() < SWITCHES else languages[-1])
    return " ".join(sentence(meaning, language) for meaning, language in zip(told, languages, strict=True))


def one_language_story(told: list[Meaning], rng: random.Random) -> str:
    """A story in one language."""
    language = rng.choice(MINIATURE_LANGUAGES)
    return " ".join(sentence(meaning, language) for meaning in told)


def held_out_documents(language: str, length: int = 4) -> list[str]:
    """Monolingual stories of `length` sentences from meanings that neither training nor the analysis has."""
    return [
        " ".join(sentence(meaning, language) for meaning in kept[start : start + length])
        for kept in (meanings("text", subject) for subject in table("subjects"))
        for start in range(0, len(kept), length)
    ]
