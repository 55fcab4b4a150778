"""Text files: one `<code>.txt` per language in a folder, or the files of a published corpus.

Lines end at a line feed, with or without a carriage return before it, and nowhere else: a rarer separator inside a sentence, or
a carriage return by itself, would otherwise shift one language against the others.
"""

from __future__ import annotations

import logging
from pathlib import Path

from lf_experiments.corpora.place import Place, given_folder
from lf_experiments.errors import InputError
from lf_experiments.languages import refuse_path

log = logging.getLogger(__name__)


def read_language_file(group: str, root: str, language: str) -> str:
    """The text of `<root>/<language>.txt`, as `read_utf8` gives it.

    Raises `InputError` where the folder or the file is missing, and for a code that would lead out of the folder.
    """
    refuse_path("language_set.languages", language)
    folder = given_folder(group, root, "one <code>.txt per language")
    path = folder / f"{language}.txt"
    if not path.is_file():
        present = ", ".join(sorted(other.stem for other in folder.glob("*.txt"))) or "none"
        raise InputError(
            f"{group}.root",
            root,
            f"it has no file for {language} ({path.name}); it has {present}",
            f"add the file, or leave {language} out of language_set.languages",
        )
    return read_utf8(group, path)


def read_utf8(group: str, path: Path) -> str:
    """The text of a file without a byte order mark, with a line feed at the end of each line.

    A carriage return that ends no line is kept, with a warning. Raises `InputError` for a file that cannot be read, is not
    UTF-8 or has no text in it.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        problem = f"{path.name} cannot be read: {error.strerror}"
        raise InputError(f"{group}.root", path, problem, "give this user the right to read it") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{group}.root",
            path,
            f"not UTF-8 at byte {error.start}",
            f"convert it, for instance with iconv -t UTF-8 {path.name}",
        ) from error
    if not text.strip():
        raise InputError(f"{group}.root", path, f"{path.name} is empty", "put text into it, or use another file")
    warn_of_returns(path, text)
    return text


def warn_of_returns(path: Path, text: str) -> None:
    """Warn of carriage returns inside lines: they end none, and stay in the text."""
    numbers = [str(number) for number, line in enumerate(lines(text), start=1) if "\r" in line]
    if numbers:
        listed = ", ".join(numbers[:5]) + (", ..." if len(numbers) > 5 else "")
        log.warning("%s has carriage returns that end no line, in line %s: they are kept in the text", path, listed)


def lines(text: str) -> list[str]:
    """The lines of a text, split at line feeds alone."""
    return text.removesuffix("\n").split("\n")


def refuse_misaligned(key: str, value: str, texts: dict[str, list[str]]) -> None:
    """Raise `InputError` where the files of the languages, given as their lines, do not have the same number of them."""
    counts = {language: len(sentences) for language, sentences in texts.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{language} {count}" for language, count in counts.items())
        raise InputError(key, value, f"the files have different numbers of lines: {listed}", "align them line by line")


def of_document(name: str, document: str) -> str:
    """The identifier of a meaning that tells its document, which intervals go by (`parallel.document_of`)."""
    return f"{name} of {document}" if document else name


def numbered(place: Place, texts: dict[str, list[str]], documents: list[str] | None = None) -> dict[str, dict[str, str]]:
    """{language: {"line N": sentence}} of sentences aligned by their line number; empty ones are left out.

    With the document of every line, empty where it is not known, the identifiers are "line N of DOCUMENT". Raises `InputError`
    for other numbers of lines.
    """
    refuse_misaligned(place.key, place.value, texts | ({"documents": documents} if documents else {}))
    documents = documents or [""] * len(next(iter(texts.values())))
    names = [of_document(f"line {number}", document) for number, document in enumerate(documents, start=1)]
    return {
        language: {name: text.strip() for name, text in zip(names, sentences, strict=True) if text.strip()}
        for language, sentences in texts.items()
    }
