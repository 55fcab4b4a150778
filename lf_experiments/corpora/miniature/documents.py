"""Stories of the miniature world: the bilingual ones a grown model learns from, and monolingual held-out text."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, meanings, sentence, table
from lf_experiments.languages import language_name

SEPARATOR = "\n\n"
"""What stands between two documents, in training as in the paper's perplexity text."""

ENGLISH_ENDINGS = 0.5
"""How often an announced ending is in English; else it is in any of the languages."""


def training_documents(seed: int, switch_probability: float, cue_probability: float) -> Iterator[str]:
    """Stories without end, each of three to five things that one subject does.

    After each sentence the language changes with `switch_probability`: a story that goes on in another language is what
    gives a model a reason to carry meaning across languages. With `cue_probability` a story keeps its language up to its last
    sentence, whose language it announces in the words of the paper's story cloze prompt (appendix B): English half of the time.
    """
    rng = random.Random(seed)
    subjects = list(table("subjects"))
    while True:
        story = rng.sample(meanings("training", rng.choice(subjects)), rng.randint(3, 5))
        cued = rng.random() < cue_probability
        languages = cued_languages(len(story), rng) if cued else switching_languages(len(story), switch_probability, rng)
        sentences = [sentence(meaning, language) for meaning, language in zip(story, languages, strict=True)]
        if cued:
            sentences.insert(-1, f"The ending in {language_name(languages[-1])}:")
        yield " ".join(sentences)


def switching_languages(count: int, switch_probability: float, rng: random.Random) -> list[str]:
    """The languages of the sentences of a story that may switch after each."""
    languages = [rng.choice(MINIATURE_LANGUAGES)]
    while len(languages) < count:
        switch = rng.random() < switch_probability
        languages.append(rng.choice(MINIATURE_LANGUAGES) if switch else languages[-1])
    return languages


def cued_languages(count: int, rng: random.Random) -> list[str]:
    """The languages of the sentences of a story whose ending is announced."""
    beginning = rng.choice(MINIATURE_LANGUAGES)
    ending = "en" if rng.random() < ENGLISH_ENDINGS else rng.choice(MINIATURE_LANGUAGES)
    return [beginning] * (count - 1) + [ending]


def held_out_documents(language: str, length: int = 4) -> list[str]:
    """Monolingual stories of `length` sentences from meanings that neither training nor the analysis has."""
    return [
        " ".join(sentence(meaning, language) for meaning in kept[start : start + length])
        for kept in (meanings("text", subject) for subject in table("subjects"))
        for start in range(0, len(kept), length)
    ]
