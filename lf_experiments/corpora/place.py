"""Where the files of a corpus are: in a folder of the user, or downloaded from the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lf_experiments.config.schema import CorpusConfig
from lf_experiments.errors import InputError
from lf_experiments.hub import fetch_dataset


@dataclass(frozen=True)
class Place:
    """The folder with the files of a corpus, and the key and value that messages name for it."""

    group: str
    """The configuration group: dataset, text or cloze."""
    key: str
    value: str
    folder: Path

    def error(self, problem: str, remedy: str) -> InputError:
        """The error for a corpus that cannot be used as it is."""
        return InputError(self.key, self.value, problem, remedy)

    def lacks(self, files: str, language: str) -> InputError:
        """The error for a corpus that has none of the `files` that could hold a language."""
        get = "add it" if self.key.endswith(".root") else "run it once with a network"
        return self.error(f"it has no {files}", f"{get}, or leave {language} out of language_set.languages")


def fetch_place(group: str, corpus: CorpusConfig, patterns: list[str]) -> Place:
    """The folder of a corpus that the user gave; otherwise download the files of its hub repository that match `patterns`.

    Raises `InputError` for a folder, repository or revision that does not exist or cannot be reached.
    """
    if corpus.root:
        return Place(group, f"{group}.root", corpus.root, given_folder(group, corpus.root, f"the files of {corpus.name}"))
    revision = corpus.revision or "main"
    folder = fetch_dataset(group, corpus.repository, revision, tuple(patterns))
    return Place(group, f"{group}.repository", f"{corpus.repository}@{revision}", folder)


def given_folder(group: str, root: str, content: str) -> Path:
    """The folder `root`, which should hold `content`; `group` names the configuration group in messages."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{group}.root", root, "there is no such folder", f"give the folder with {content}")
    return folder
