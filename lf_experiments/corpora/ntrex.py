"""NTREX-128: the news test set of WMT 2019 (Federmann et al., 2022), a text file per language with a sentence per line.

The files are called `newstest2019-src.eng.txt`, the English source, and `newstest2019-ref.<key>.txt`, its translations. A
folder may also hold them as `<code>.txt`.
"""

from __future__ import annotations

from pathlib import Path

from lf_experiments.config import DatasetConfig
from lf_experiments.corpora.language_files import lines, read_language_file, read_utf8
from lf_experiments.corpora.published import Place, located, numbered
from lf_experiments.languages import corpus_keys

NAMES = ("newstest2019-src.{key}.txt", "newstest2019-ref.{key}.txt")
FOLDERS = ("", "*/", "*/*/")
"""How deep the files can be: beside each other, or each in a folder of its language."""


def ntrex_sentences(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {"line N": sentence}}. Raises `InputError` for a language without a file, and for misaligned files."""
    if dataset.root and any((Path(dataset.root).expanduser() / f"{language}.txt").is_file() for language in languages):
        place = located("dataset", dataset, [])
        return numbered(
            place, {language: lines(read_language_file("dataset", dataset.root, language)) for language in languages}
        )
    keys = corpus_keys("dataset", "ntrex", languages, dataset.keys)
    place = located("dataset", dataset, ["*" + name.format(key=key) for key in keys.values() for name in NAMES])
    files = {language: file_of(place, key, language) for language, key in keys.items()}
    return numbered(place, {language: lines(read_utf8("dataset", path)) for language, path in files.items()})


def file_of(place: Place, key: str, language: str) -> Path:
    """The file of one language under its published name."""
    names = [name.format(key=key) for name in NAMES]
    found = [path for folder in FOLDERS for name in names for path in place.folder.glob(folder + name)]
    if not found:
        raise place.lacks(f"{' nor '.join(names)}", language)
    return found[0]
