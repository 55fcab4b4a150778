"""NTREX-128: the news test set of WMT 2019 (Federmann et al., 2022), a text file per language with a sentence per line.

The files are called `newstest2019-src.eng.txt`, the English source, and `newstest2019-ref.<key>.txt`, its translations. A
folder may also hold them as `<code>.txt`. `DOCUMENT_IDS.tsv` names the document of every line.
"""

from __future__ import annotations

from pathlib import Path

from lf_experiments.config.schema import CorpusConfig, DatasetConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.language_files import lines, numbered, read_language_file, read_utf8
from lf_experiments.corpora.place import Place, fetch_place
from lf_experiments.languages import corpus_keys

NAMES = ("newstest2019-src.{key}.txt", "newstest2019-ref.{key}.txt")
DOCUMENTS = ("DOCUMENT_IDS.tsv", "document_ids.tsv")
"""The document of every line: sentences of one document are not independent of each other."""
FOLDERS = ("", "*/", "*/*/")
"""The files are beside each other, or each in a folder of its language."""


def read_ntrex(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {"line N": sentence}}, or {"line N of DOCUMENT": sentence} where a file tells the documents.

    Raises `InputError` for a language without a file, and for misaligned files.
    """
    place, texts = read_lines("dataset", dataset, languages)
    return numbered(place, texts, documents_of_lines("dataset", place))


def read_lines(group: str, corpus: CorpusConfig, languages: list[str]) -> tuple[Place, dict[str, list[str]]]:
    """Where the corpus is, and {language: its lines}; `group` is what errors call it, `dataset` or `text`.

    Raises `InputError` for a language without a file.
    """
    if corpus.root and any((Path(corpus.root).expanduser() / f"{language}.txt").is_file() for language in languages):
        place = fetch_place(group, corpus, [])
        return place, {language: lines(read_language_file(group, corpus.root, language)) for language in languages}
    keys = corpus_keys(group, "ntrex", languages, corpus.keys)
    wanted = ["*" + name.format(key=key) for key in keys.values() for name in NAMES]
    place = fetch_place(group, corpus, [*wanted, *(f"*{name}" for name in DOCUMENTS)])
    files = {language: file_of(place, key, language) for language, key in keys.items()}
    return place, {language: lines(read_utf8(group, path)) for language, path in files.items()}


def documents_of_lines(group: str, place: Place) -> list[str] | None:
    """The document of every line; None where the folder does not tell them."""
    found = [path for folder in FOLDERS for name in DOCUMENTS for path in place.folder.glob(folder + name)]
    return lines(read_utf8(group, found[0])) if found else None


def file_of(place: Place, key: str, language: str) -> Path:
    """The file of one language under its published name."""
    names = [name.format(key=key) for name in NAMES]
    found = [path for folder in FOLDERS for name in names for path in place.folder.glob(folder + name)]
    if not found:
        raise place.lacks(f"{' nor '.join(names)}", language)
    return found[0]


CORPUS = Corpus(read_ntrex, needs=("repository",))
