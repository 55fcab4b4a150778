"""Any parallel corpus as text files: line i of each `<root>/<code>.txt` says the same."""

from __future__ import annotations

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.language_files import lines, read_language_file, refuse_misaligned
from lf_experiments.errors import InputError


def read_aligned_files(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {"line N": sentence}}. Raises `InputError` for missing or misaligned files and empty lines."""
    texts = {language: lines(read_language_file("dataset", dataset.root, language)) for language in languages}
    refuse_misaligned("dataset.root", dataset.root, texts)
    for language, sentences in texts.items():
        refuse_empty(dataset.root, language, sentences)
    return {
        language: {f"line {number}": text for number, text in enumerate(sentences, start=1)}
        for language, sentences in texts.items()
    }


def refuse_empty(root: str, language: str, sentences: list[str]) -> None:
    """Raise `InputError` for a line without text."""
    for number, text in enumerate(sentences, start=1):
        if not text.strip():
            problem = f"line {number} of {language}.txt is empty"
            raise InputError("dataset.root", root, problem, "take the line out of all files")


CORPUS = Corpus(read_aligned_files, needs=("root",), aligned=True)
