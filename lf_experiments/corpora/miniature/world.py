"""The miniature world: meanings, their sentences in nine languages, and which meanings are held out of training."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

MINIATURE_LANGUAGES = ("en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id")

HELD_OUT_PER_SUBJECT = {"analysis": 8, "text": 8}
"""Meanings of every subject kept for the analysed sentences and for the perplexity text; the others are for training."""

SPLITS = (*HELD_OUT_PER_SUBJECT, "training")


@dataclass(frozen=True)
class Meaning:
    """What a sentence says, apart from any language; each field is a key of the table named after it."""

    subject: str
    action: str
    place: str
    time: str

    @property
    def name(self) -> str:
        """An identifier shared by all translations, such as `farmer.plant_tree.garden.spring`."""
        return ".".join((self.subject, self.action, self.place, self.time))


@cache
def table(name: str) -> dict[str, dict[str, str]]:
    """A table of the world, as {key of the row: {column: phrase}}."""
    with (Path(__file__).parent / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    key = next(iter(rows[0]))
    return {row[key]: row for row in rows}


def world_files() -> list[Path]:
    """The files that decide what a grown model reads: the tables, and the modules that make sentences and documents of them."""
    folder = Path(__file__).parent
    return [*sorted(folder.glob("*.tsv")), folder / "world.py", folder / "documents.py"]


@cache
def meanings_of_subject(subject: str) -> tuple[Meaning, ...]:
    """Everything the profile of a subject lets it do, in a fixed shuffled order."""
    profile = table("profiles")[subject]
    choices = (profile[column].split() for column in ("actions", "places", "times"))
    meanings = [Meaning(subject, *choice) for choice in product(*choices)]
    random.Random(subject).shuffle(meanings)
    return tuple(meanings)


@cache
def meanings(split: str, subject: str | None = None) -> tuple[Meaning, ...]:
    """The meanings of one of `SPLITS`, which share none, of one subject or of all."""
    if subject is None:
        return tuple(meaning for each in table("subjects") for meaning in meanings(split, each))
    rest = meanings_of_subject(subject)
    for held_out, count in HELD_OUT_PER_SUBJECT.items():
        if split == held_out:
            return rest[:count]
        rest = rest[count:]
    if split != "training":
        raise ValueError(f"no split {split!r} of the miniature world; there are {', '.join(SPLITS)}")
    return rest


@cache
def sentence(meaning: Meaning, language: str) -> str:
    """The meaning as a sentence. The time comes first, so that the language shows before the content."""
    time = table("times")[meaning.time][language]
    subject = table("subjects")[meaning.subject][language]
    action = agreeing_action(meaning, language)
    place = table("places")[meaning.place][language]
    if language == "zh":
        return f"{time}，{subject}{place}{action}。"
    if language == "hi":
        return f"{time} {subject} {place} {action}।"
    if language == "ar":
        verb, object_ = action.split(" ", 1)
        return f"{time} {verb} {subject} {object_} {place}."
    text = f"{time}, {subject} {action} {place}."
    return text[0].upper() + text[1:]


def agreeing_action(meaning: Meaning, language: str) -> str:
    """The phrase of the action; Arabic and Hindi verbs, which the table gives in the masculine, agree with the subject."""
    phrase = table("actions")[meaning.action][language]
    if table("subjects")[meaning.subject]["gender"] == "m":
        return phrase
    if language == "ar":
        return "ت" + phrase.removeprefix("ي")
    if language == "hi":
        return phrase.removesuffix("ता है") + "ती है"
    return phrase
