"""Stories of the miniature world with a right and a wrong ending in English, from meanings that no grown model was trained on."""

from __future__ import annotations

from lf_experiments.corpora.miniature.world import meanings, sentence, table
from lf_experiments.corpora.stories import Story

STORIES_PER_SUBJECT = 5
SENTENCES = 4
"""Of the beginning of a story, as in the paper's appendix B."""


def miniature_stories(languages: list[str]) -> dict[str, list[Story]]:
    """{language: stories that begin in it}, the same in every language.

    A story is things that one subject does. It ends with one more of them, or wrongly with what the next subject of the table
    does elsewhere. Every ending is right once and wrong once, and first as often as second: it says nothing by itself.
    """
    subjects = list(table("subjects"))
    numbers = [(subject, story) for subject in range(len(subjects)) for story in range(STORIES_PER_SUBJECT)]
    return {language: [miniature_story(subjects, *number, language) for number in numbers] for language in languages}


def miniature_story(subjects: list[str], subject: int, story: int, language: str) -> Story:
    """One story: `subject` and `story` count from 0."""
    told = meanings("text", subjects[subject])
    others = meanings("text", subjects[(subject + 1) % len(subjects)])
    beginning = [told[(story + 1 + place) % len(told)] for place in range(SENTENCES)]
    endings = sentence(told[story], "en"), sentence(others[story], "en")
    right = (subject + story) % 2
    return Story(
        name=f"{subjects[subject]}.{story}",
        sentences=[sentence(meaning, language) for meaning in beginning],
        endings=endings if right == 0 else endings[::-1],
        right=right,
    )
