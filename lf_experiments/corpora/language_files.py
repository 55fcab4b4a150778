"""Folders with one UTF-8 text file per language, `<code>.txt`."""

from __future__ import annotations

from pathlib import Path

from lf_experiments.config import InputError


def read_language_file(key: str, root: str, language: str) -> str:
    """The text of `<root>/<language>.txt`, line ends normalised; `key` names the configuration group in messages.

    Raises `InputError` where the folder or the file is missing, or the file is not UTF-8.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{key}.root", root, "there is no such folder", "give the folder with one <code>.txt per language")
    path = folder / f"{language}.txt"
    if not path.is_file():
        present = ", ".join(sorted(other.stem for other in folder.glob("*.txt"))) or "none"
        raise InputError(
            f"{key}.root",
            root,
            f"it has no file for {language} ({path.name}); it has {present}",
            f"add the file, or leave {language} out of language_set.languages",
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{key}.root", path, f"not UTF-8 at byte {error.start}", f"convert it, for instance with iconv -t UTF-8 {path.name}"
        ) from error
