"""NTREX-128 as text: the articles that its sentences are lines of, the same ones in every language.

Where the sentences that activate the neurons are of the same corpus, a part of this text is what they were drawn from.
"""

from __future__ import annotations

from itertools import groupby

from lf_experiments.config.schema import TextConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.parallel.ntrex import DOCUMENTS, documents_of_lines, read_lines


def read_ntrex_documents(text: TextConfig, languages: list[str]) -> dict[str, list[str]]:
    """{language: documents, a sentence per line}.

    Raises `InputError` for a language without a file, where nothing tells the documents, and where lines and documents differ.
    """
    place, texts = read_lines("text", text, languages)
    documents = documents_of_lines("text", place)
    if documents is None:
        problem = f"it has no {' or '.join(DOCUMENTS)}, which tell the document of every line"
        raise place.error(problem, "add the file of the release, or give text=files")
    for language, found in texts.items():
        if len(found) != len(documents):
            problem = f"{language} has {len(found)} lines, and the documents are those of {len(documents)} lines"
            raise place.error(problem, "take all files from one release")
    return {language: joined(found, documents) for language, found in texts.items()}


def joined(lines: list[str], documents: list[str]) -> list[str]:
    """The documents of one language: lines that follow each other in one document, without empty ones."""
    pairs = groupby(zip(documents, lines, strict=True), key=lambda pair: pair[0])
    found = ["\n".join(line.strip() for _, line in of_document if line.strip()) for _, of_document in pairs]
    return [document for document in found if document]


CORPUS = Corpus(read_ntrex_documents, needs=("repository",))
