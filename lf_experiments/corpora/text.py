"""Monolingual text: the documents whose perplexity is measured."""

from __future__ import annotations

import re

from lf_experiments.config import InputError, TextConfig, TextSource
from lf_experiments.corpora.language_files import read_language_file
from lf_experiments.corpora.miniature.documents import held_out_documents
from lf_experiments.corpora.parallel import refuse_foreign
from lf_experiments.corpora.xlsum import articles


def documents(text: TextConfig, languages: list[str]) -> dict[str, list[str]]:
    """{language: its first `text.documents` documents, or all}.

    Raises `InputError` for a language the text lacks or an empty file.
    """
    found = all_documents(text, languages)
    return {language: texts[: text.documents] for language, texts in found.items()}


def all_documents(text: TextConfig, languages: list[str]) -> dict[str, list[str]]:
    """{language: all its documents}."""
    if text.source is TextSource.miniature:
        refuse_foreign("text", languages)
        return {language: held_out_documents(language) for language in languages}
    if text.source is TextSource.xlsum:
        return articles(text, languages)
    return {language: file_documents(text.root, language) for language in languages}


def file_documents(root: str, language: str) -> list[str]:
    """The documents of `<root>/<code>.txt`, which blank lines separate."""
    blocks = re.split(r"\n[ \t]*(?:\n[ \t]*)+", read_language_file("text", root, language))
    found = [block.strip() for block in blocks if block.strip()]
    if not found:
        raise InputError("text.root", root, f"{language}.txt is empty", "put text into it, documents separated by a blank line")
    return found
