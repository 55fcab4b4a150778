"""The languages: one row each, with the name and the script that every table, figure and prompt uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language: its ISO 639-1 code, its English name and the script it is written in."""

    code: str
    name: str
    script: str


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English", "Latin"),
        Language("zh", "Chinese", "Han"),
        Language("fr", "French", "Latin"),
        Language("es", "Spanish", "Latin"),
        Language("pt", "Portuguese", "Latin"),
        Language("ar", "Arabic", "Arabic"),
        Language("vi", "Vietnamese", "Latin"),
        Language("hi", "Hindi", "Devanagari"),
        Language("id", "Indonesian", "Latin"),
    )
}


def language_name(code: str) -> str:
    """The English name of a language, or its code where the table has no row for it."""
    return LANGUAGES[code].name if code in LANGUAGES else code
