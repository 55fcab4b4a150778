"""The languages of the miniature world, and the message for others."""

from __future__ import annotations

from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES
from lf_experiments.languages import held_languages


def refuse_foreign(group: str, languages: list[str]) -> None:
    """Raise `InputError` for languages that the world does not speak; `group` is the configuration group, dataset or text."""
    held_languages(f"{group}=miniature", languages, list(MINIATURE_LANGUAGES), f"give {group}=files {group}.root=FOLDER")
