"""What a corpus is, and how a configuration finds one by its name.

A corpus is one module of `parallel/`, `text/` or `stories/` with a `CORPUS` in it; its name is that of the module. A reader of
one's own is `source: module:function`, with the arguments and the result of `Corpus.read`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lf_experiments.config.schema import Config, CorpusConfig
from lf_experiments.errors import InputError
from lf_experiments.extensions import load_named

PACKAGES = {"dataset": "parallel", "text": "text", "cloze": "stories"}
"""{group of the configuration: the package of its corpora}"""

NEEDS = {
    "root": ("root", "the folder with one <code>.txt per language is missing", "give {group}.root=FOLDER"),
    "repository": (
        "root",
        "nothing says where {source} is",
        "give {group}.root=FOLDER, or {group}.repository to download it from",
    ),
    "downloads": ("downloads", "nothing says where to keep it", "give {group}.downloads=FOLDER"),
    "split": ("split", "{source} has several parts", "name one, as conf/{group}/{source}.yaml does"),
}
"""{what a corpus can need: the key to blame where it is not given, the problem and the remedy}"""

FOR_DOWNLOAD = ("repository", "downloads")
"""What is needed only where no folder is given."""


@dataclass(frozen=True)
class Corpus:
    """How one corpus is read, and what its configuration must give."""

    read: Callable[[Any, list[str]], dict[str, Any]]
    """(configuration, languages) -> {language: content}. The content is {meaning: sentence} for `dataset`, a list of documents
    for `text` and of `Story` for `cloze`, which may leave out languages. Raises `InputError` for what cannot be used."""
    needs: tuple[str, ...] = ()
    """Keys of `NEEDS`."""
    aligned: bool = False
    """Of parallel sentences: all languages have the same meanings, and in an order to keep; otherwise they are sorted by id."""

    def check(self, group: str, config: CorpusConfig) -> None:
        """Raise `InputError` where the configuration lacks something that the corpus needs."""
        for need in self.needs:
            if not (getattr(config, need) or (need in FOR_DOWNLOAD and config.root)):
                key, problem, remedy = (text.format(group=group, source=config.source) for text in NEEDS[need])
                raise InputError(f"{group}.{key}", "null", problem, remedy)

    def is_here(self, config: CorpusConfig) -> bool:
        """Whether it is read from this machine without a download: it comes with the package, or a folder is given."""
        return config.root is not None or not set(FOR_DOWNLOAD) & set(self.needs)


def load_corpus(group: str, config: CorpusConfig) -> Corpus:
    """The corpus that `<group>.source` names. Raises `InputError`, with the names there are, where there is none."""
    package = f"lf_experiments.corpora.{PACKAGES[group]}"
    found = load_named(f"{group}.source", package, config.source, "CORPUS")
    return found if isinstance(found, Corpus) else Corpus(read=found)


def is_here(group: str, config: CorpusConfig) -> bool:
    """Whether the corpus of a configuration group is read from this machine without a download."""
    return load_corpus(group, config).is_here(config)


def check_corpora(config: Config) -> None:
    """Raise `InputError` where a corpus has an unknown name, or lacks something that it needs. Reads none of them."""
    for group, corpus in (("dataset", config.dataset), ("text", config.text), ("cloze", config.cloze)):
        load_corpus(group, corpus).check(group, corpus)


def read_corpus(group: str, config: CorpusConfig, languages: list[str]) -> dict[str, Any]:
    """{language: content} of all the languages. Raises `InputError` for a corpus that cannot be used or lacks a language."""
    found = load_corpus(group, config).read(config, languages)
    if not isinstance(found, dict):
        problem = f"it returned {type(found).__name__}, not a dict of languages"
        raise InputError(f"{group}.source", config.source, problem, "see `Corpus.read` in corpora/corpus.py")
    without = [language for language in languages if not found.get(language)]
    if without:
        problem = f"{config.name} holds nothing in {', '.join(without)}"
        raise InputError(f"{group}.source", config.source, problem, "leave them out of language_set.languages")
    return {language: found[language] for language in languages}
