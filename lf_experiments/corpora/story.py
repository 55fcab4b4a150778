"""A story with a right and a wrong ending (sec. 4.1, app. B)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Story:
    """The beginning of a story in one language, and two endings of it in English."""

    name: str
    """The identifier that its translations share."""
    sentences: list[str]
    """The beginning; four sentences in XStoryCloze."""
    endings: tuple[str, str]
    """In English, whatever the language of the beginning."""
    right: int
    """0 or 1: which of the endings is the right one."""
