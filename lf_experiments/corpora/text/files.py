"""Any text as files: blank lines separate the documents of each `<root>/<code>.txt`."""

from __future__ import annotations

import re

from lf_experiments.config.schema import TextConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.language_files import read_language_file


def read_text_files(text: TextConfig, languages: list[str]) -> dict[str, list[str]]:
    """{language: documents}. Raises `InputError` for missing and empty files."""
    return {language: split_at_blank_lines(read_language_file("text", text.root, language)) for language in languages}


def split_at_blank_lines(text: str) -> list[str]:
    """The blocks of a text between lines without anything but white space."""
    blocks = re.split(r"\n[ \t]*(?:\n[ \t]*)+", text)
    return [block.strip() for block in blocks if block.strip()]


CORPUS = Corpus(read_text_files, needs=("root",))
