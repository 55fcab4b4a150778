"""Stories with a right and a wrong ending, the same in every language, for the cross-lingual story cloze (sec. 4.1, app. B)."""

from __future__ import annotations

from lf_experiments.config.schema import ClozeConfig
from lf_experiments.corpora.corpus import load_corpus
from lf_experiments.corpora.story import Story
from lf_experiments.languages import held_languages


def stories(cloze: ClozeConfig, languages: list[str]) -> dict[str, list[Story]]:
    """{language: the first `cloze.stories` stories, or all}, the same in every language that the task has.

    Languages it lacks are left out with a warning. Raises `InputError` where none is left, and for files that are missing or
    not of the published form.
    """
    found = load_corpus("cloze", cloze).read(cloze, languages)
    return {language: of_language[: cloze.stories] for language, of_language in found.items()}


def told_languages(cloze: ClozeConfig, languages: list[str], known: list[str]) -> list[str]:
    """The languages that a task has, given all it has; a task need not have every language under study."""
    return held_languages(f"cloze={cloze.name}", languages, known, "leave out the stage cloze", some=True)
