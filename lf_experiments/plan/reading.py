"""What a run would read: the tokens of every sentence, of every window of text and of every story with each ending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lf_experiments.config.schema import Config
from lf_experiments.corpora.corpus import is_here
from lf_experiments.corpora.parallel import drawn_sentences
from lf_experiments.corpora.stories import stories
from lf_experiments.corpora.text import documents
from lf_experiments.errors import InputError
from lf_experiments.evaluations.cloze_task import lengths
from lf_experiments.evaluations.windows import text_windows
from lf_experiments.models.load import Reader
from lf_experiments.plan.model import PlannedModel

SENTENCE_TOKENS = 30
"""Assumed of a sentence that is not on this machine."""

Lengths = dict[str, list[int]]


@dataclass(frozen=True)
class Texts:
    """The tokens of every sequence of a corpus, and how they are known."""

    by_language: Lengths
    """Empty where they are not known."""
    note: str

    @property
    def lengths(self) -> list[int]:
        """Tokens of every sequence, language by language."""
        return [length for of_language in self.by_language.values() for length in of_language]


def reading(config: Config, planned: PlannedModel, corpora: set[str]) -> dict[str, Texts]:
    """The texts of some corpora by their keys in the configuration, exactly where data and tokenizer are on this machine.

    Raises `InputError` for data that is here and cannot be used.
    """
    return {kind: texts(kind, corpus, config, planned) for kind, (corpus, _) in LENGTHS.items() if corpus in corpora}


def texts(kind: str, corpus: str, config: Config, planned: PlannedModel) -> Texts:
    """The texts of a kind, from one corpus."""
    here = all(is_here(needed, getattr(config, needed)) for needed in needed_for(corpus, config))
    name = getattr(config, corpus).name
    if not here and corpus == "dataset":
        assumed = {language: [SENTENCE_TOKENS] * config.dataset.sentences for language in config.languages}
        return Texts(assumed, f"{SENTENCE_TOKENS} tokens each (assumed: {name} is not here)")
    try:
        _, count = LENGTHS[kind]
        return Texts(count(config, planned.reader), planned.tokens_note) if here else Texts({}, f"{name} is not here")
    except InputError as error:
        if planned.has_tokenizer or error.parts[0] != "text.window":
            raise
        return Texts({}, str(error).splitlines()[0])  # the assumed tokens may be too few for a window


def needed_for(corpus: str, config: Config) -> list[str]:
    """The corpora that a corpus is read from: a text without the sentences of the dataset needs both."""
    return [corpus, "dataset"] if corpus == "text" and config.text.held_out else [corpus]


def sentence_lengths(config: Config, reader: Reader) -> Lengths:
    """Of every sentence, with the special tokens that begin every text."""
    drawn = drawn_sentences(config.dataset, config.languages, config.seed).texts
    return {language: [len(ids) for ids in reader.sequences(drawn[language])] for language in config.languages}


def window_lengths(config: Config, reader: Reader) -> Lengths:
    """Of every window of text."""
    drawn = drawn_sentences(config.dataset, config.languages, config.seed) if config.text.held_out else None
    of_text = documents(config.text, config.languages, drawn).items()
    windows = {language: text_windows(reader, found, config.text, language) for language, found in of_text}
    return {language: [len(window.ids) for window in found] for language, found in windows.items()}


def story_lengths(config: Config, reader: Reader) -> Lengths:
    """Of every story with its one ending and its other."""
    return {language: lengths(reader, told) for language, told in stories(config.cloze, config.languages).items()}


def ending_lengths(config: Config, reader: Reader) -> Lengths:
    """Of both endings of every story."""
    told = stories(config.cloze, config.languages).items()
    endings = {language: [f" {ending}" for story in of_language for ending in story.endings] for language, of_language in told}
    return {language: [len(ids) for ids in reader.token_ids(of_language)] for language, of_language in endings.items()}


LENGTHS: dict[str, tuple[str, Callable[[Config, Reader], Lengths]]] = {
    "dataset": ("dataset", sentence_lengths),
    "text": ("text", window_lengths),
    "cloze": ("cloze", story_lengths),
    "endings": ("cloze", ending_lengths),
}
"""How the sequences of each kind are counted, and the corpus that they are from."""
