"""Folders of text files: one `<code>.txt` per language, or the files of a published corpus."""

from __future__ import annotations

from pathlib import Path

from lf_experiments.config import InputError


def given_folder(group: str, root: str, content: str) -> Path:
    """The folder `root`, which should hold `content`; `group` names the configuration group in messages."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{group}.root", root, "there is no such folder", f"give the folder with {content}")
    return folder


def read_language_file(group: str, root: str, language: str) -> str:
    """The text of `<root>/<language>.txt`, line ends normalised.

    Raises `InputError` where the folder or the file is missing, or the file is not UTF-8.
    """
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
    """The text of a file, line ends normalised, without a byte order mark. Raises `InputError` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{group}.root",
            path,
            f"not UTF-8 at byte {error.start}",
            f"convert it, for instance with iconv -t UTF-8 {path.name}",
        ) from error


def lines(text: str) -> list[str]:
    """The lines of a text, split at line feeds alone: a sentence may hold rarer separators that other languages lack."""
    return text.removesuffix("\n").split("\n")


def refuse_misaligned(key: str, value: str, texts: dict[str, list[str]]) -> None:
    """Raise `InputError` where the files of the languages, given as their lines, do not have the same number of them."""
    counts = {language: len(sentences) for language, sentences in texts.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{language} {count}" for language, count in counts.items())
        raise InputError(key, value, f"the files have different numbers of lines: {listed}", "align them line by line")
