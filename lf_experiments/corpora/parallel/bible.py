"""The paper's corpus: verses of the Bible (Christodouloupoulos and Steedman, 2015), aligned by verse id.

One XML file per language, `<seg id="b.GEN.1.1" type="verse">` in books and chapters. Where a translation merges two verses, the
second has no id there and is left out of every set with that language; the first then says more than it does elsewhere.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.github import fetch_files
from lf_experiments.corpora.language_files import of_document
from lf_experiments.corpora.place import given_folder
from lf_experiments.errors import InputError
from lf_experiments.languages import corpus_keys


def read_bible(dataset: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {"VERSE of CHAPTER": verse}} from the folder `dataset.root`, or downloaded at the commit `dataset.revision`.

    Raises `InputError` for languages without a file, and files that are not of the published form.
    """
    files = {language: f"{key}.xml" for language, key in corpus_keys("dataset", "bible", languages, dataset.keys).items()}
    if dataset.root:
        folder = given_folder("dataset", dataset.root, "the XML files of the corpus, such as English.xml")
    else:
        folder = fetch_files("dataset", dataset, [f"bibles/{file}" for file in files.values()]) / "bibles"
    return {language: read_verses(folder / file, language) for language, file in files.items()}


def read_verses(path: Path, language: str) -> dict[str, str]:
    """{"VERSE of CHAPTER": verse} of one file, such as `b.GEN.1.1 of b.GEN.1`, with white space normalised.

    Verses of a chapter are not independent of each other. Empty verses and ids that occur twice are left out.

    The parser, Expat, resolves no external entities here, and since 2.4.1 refuses entities that multiply.
    Raises `InputError` for a missing file or one of another form.
    """
    if not path.is_file():
        remedy = f"add the file, or leave {language} out of language_set.languages"
        raise InputError("dataset.root", path.parent, f"it has no {path.name}", remedy)
    try:
        segments = ElementTree.parse(path).getroot().iter("seg")
    except ElementTree.ParseError as error:
        raise InputError("dataset.root", path, f"this is not XML: {error}", "use the file as it is published") from error
    verses = [segment for segment in segments if segment.get("type") == "verse"]
    found = [(id_, text_of(segment)) for segment in verses if (id_ := segment.get("id"))]
    if not found:
        problem = 'it has no verses, which are <seg id="b.GEN.1.1" type="verse">'
        raise InputError("dataset.root", path, problem, "use the file as it is published")
    times = Counter(verse for verse, _ in found)
    return {of_document(verse, verse.rpartition(".")[0]): text for verse, text in found if text and times[verse] == 1}


def text_of(segment: ElementTree.Element) -> str:
    """All text in an element, in one line."""
    return " ".join("".join(segment.itertext()).split())


CORPUS = Corpus(read_bible, needs=("repository", "downloads"))
