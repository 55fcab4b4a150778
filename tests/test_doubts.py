"""Doubts about texts: copied, repeated and mislabelled languages are named in words, sound ones are not."""

from pathlib import Path

import pytest

from lf_experiments.config.schema import DatasetConfig, TextConfig
from lf_experiments.corpora.doubts import doubts
from lf_experiments.corpora.parallel import whole_corpus
from lf_experiments.corpora.text import documents

NTREX = Path(__file__).parents[2] / "shared" / "data" / "ntrex"
PAPER = ["en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id"]


def numbered(words: str, count: int = 40) -> list[str]:
    return [f"{words} {number}" for number in range(count)]


ENGLISH, FRENCH, HINDI = numbered("the rain"), numbered("la pluie"), numbered("बारिश")


def found(**texts: list[str]) -> list[str]:
    return doubts("dataset=mine", "sentences", texts)


def test_sound_texts_raise_no_doubt() -> None:
    assert found(en=ENGLISH, fr=FRENCH, hi=HINDI) == []
    assert found(en=ENGLISH, fr=[*FRENCH[:36], *ENGLISH[:4]]) == []  # a tenth may be names and titles
    assert found(en=[*ENGLISH[:38], *ENGLISH[:2]]) == []  # one in twenty may come again


def test_the_miniature_world_raises_no_doubt() -> None:
    assert doubts("m", "sentences", whole_corpus(DatasetConfig("miniature", "miniature"), PAPER).texts) == []
    assert doubts("m", "documents", documents(TextConfig("miniature", "miniature"), PAPER)) == []


@pytest.mark.skipif(not NTREX.is_dir(), reason="the NTREX sentences are not here")
def test_real_translations_raise_no_doubt() -> None:
    assert doubts("ntrex", "sentences", whole_corpus(DatasetConfig("ntrex", "files", root=str(NTREX)), PAPER).texts) == []


def test_copies_of_a_language() -> None:
    assert found(en=ENGLISH, EN=list(ENGLISH), fr=FRENCH) == [
        "dataset=mine: en, EN have the same 40 sentences, word for word: are they one language?"
    ]
    assert len(found(**dict.fromkeys(PAPER[:3], ENGLISH))) == 2  # copies, and Chinese in Latin letters; not three pairs


def test_a_language_that_is_half_translated() -> None:
    half = [*FRENCH[:30], *ENGLISH[:10]]
    assert found(en=ENGLISH, fr=half, hi=HINDI) == [
        "dataset=mine: languages share sentences, word for word: en and fr 10 of 40. Were they not translated?"
    ]


def test_many_pairs_are_counted() -> None:
    texts = {f"x{number}": [*ENGLISH[:20], *numbered(f"x{number}", 20)] for number in range(4)}
    (doubt,) = doubts("m", "sentences", texts)
    assert doubt.count(" 20 of 40") == 5
    assert doubt.endswith("and 1 more pairs. Were they not translated?")


def test_repeated_sentences() -> None:
    assert found(en=["the rain"] * 12, fr=FRENCH[:12], hi=[*HINDI[:10], *HINDI[:2]]) == [
        "dataset=mine: sentences are repeats of earlier ones: en 11 of 12, hi 2 of 12. "
        "Different meanings should be said differently"
    ]


def test_text_in_another_script() -> None:
    assert found(en=ENGLISH, hi=[*numbered("barish", 30), *HINDI[:2]]) == [
        "dataset=mine: text is not in the script of its language: hi has 3% of its letters in Devanagari. "
        "Is it transliterated, or another language?"
    ]
    assert found(en=ENGLISH, tlh=numbered("नुक")) == []  # nothing is known of a language that the table lacks
    assert found(en=["1 2 3"]) == []
