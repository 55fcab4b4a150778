"""What a run would read: the tokens of every sentence, of every window of text and of every story, and their batches."""

from __future__ import annotations

from dataclasses import dataclass

from lf_experiments.config import ClozeConfig, Config, DatasetConfig, InputError, Stage, TextConfig
from lf_experiments.corpora.parallel import drawn_sentences
from lf_experiments.corpora.stories import Story, stories
from lf_experiments.corpora.text import documents
from lf_experiments.evaluations.perplexity import text_windows
from lf_experiments.evaluations.story_cloze import lengths, rows_at_once
from lf_experiments.models.batches import rows_by_budget
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import sentences_at_once
from lf_experiments.plan.model import PlannedModel

SENTENCE_TOKENS = 30
"""Assumed of a sentence that is not on this machine."""

NOT_READ = "no stage reads it"

Batch = tuple[int, int]
"""Sequences of a batch, and tokens of each, padding included."""


@dataclass(frozen=True)
class Reading:
    """What is read, and how that is known."""

    sentences: list[int]
    """Tokens of every sentence, language by language."""
    sentences_note: str
    windows: dict[str, list[int]]
    """Tokens of every window of text, by language; empty where they are not known."""
    windows_note: str
    stories: list[Batch]
    """The batches of all stories with each of their endings; empty where they are not known."""
    stories_note: str
    prompts: list[Batch]
    """The batches of sentences to be continued, one of each process."""


def reading(config: Config, planned: PlannedModel) -> Reading:
    """What the stages would read: exactly where the data and the tokenizer are on this machine.

    Raises `InputError` for data that is here and cannot be used.
    """
    found, note = sentences(config, planned)
    return Reading(found, note, *windows(config, planned), *story_batches(config, planned), prompts(config, found))


def sentences(config: Config, planned: PlannedModel) -> tuple[list[int], str]:
    """Tokens of every sentence, and how they are known."""
    if not is_here(config.dataset):
        count = len(config.languages) * config.dataset.sentences
        return [SENTENCE_TOKENS] * count, f"{SENTENCE_TOKENS} tokens each (assumed: {config.dataset.name} is not here)"
    drawn = drawn_sentences(config.dataset, config.languages, config.seed)
    texts = [text for language in config.languages for text in drawn.texts[language]]
    return [len(ids) for ids in planned.reader.token_ids(texts)], planned.tokens_note


def windows(config: Config, planned: PlannedModel) -> tuple[dict[str, list[int]], str]:
    """Tokens of every window of the text of each language, and how they are known."""
    if Stage.deactivate not in config.stages:
        return {}, NOT_READ
    if not is_here(config.text):
        return {}, f"{config.text.name} is not here"
    texts = documents(config.text, config.languages)
    try:
        found = {language: text_windows(planned.reader, texts[language], config.text, language) for language in texts}
    except InputError as error:
        if planned.has_tokenizer:
            raise
        return {}, str(error).splitlines()[0]
    return {language: [len(window.ids) for window in of_text] for language, of_text in found.items()}, planned.tokens_note


def story_batches(config: Config, planned: PlannedModel) -> tuple[list[Batch], str]:
    """The batches in which the harness reads the stories of every language, and how they are known."""
    if Stage.cloze not in config.stages:
        return [], NOT_READ
    if not is_here(config.cloze):
        return [], f"{config.cloze.name} is not here"
    processes = config.runtime.num_processes
    shares = [told[rank::processes] for told in stories(config.cloze, config.languages).values() for rank in range(processes)]
    found = [
        batch for share in shares if share for batch in harness_batches(planned.reader, share, config.runtime.batch_tokens)
    ]
    return found, planned.tokens_note


def harness_batches(reader: Reader, told: list[Story], batch_tokens: int) -> list[Batch]:
    """As many sequences at once as the longest allows, longest first; the last token of each is not read."""
    rows = rows_at_once(reader, told, batch_tokens)
    read = sorted((min(length - 1, reader.context or length) for length in lengths(reader, told)), reverse=True)
    return [(len(read[first : first + rows]), read[first]) for first in range(0, len(read), rows)]


def prompts(config: Config, sentences: list[int]) -> list[Batch]:
    """The batches of the first sentences of each language, which are to be continued; `sentences` are the tokens of all."""
    if Stage.generate not in config.stages:
        return []
    languages = config.generation.languages or config.languages
    firsts = [config.languages.index(language) * config.dataset.sentences for language in languages]
    asked = [length for first in firsts for length in sentences[first : first + config.generation.samples]]
    shares = [asked[rank :: config.runtime.num_processes] for rank in range(config.runtime.num_processes)]
    return [(len(share), max(share)) for share in shares if share]


def capture_batches(config: Config, read: Reading, num_neurons: int) -> list[Batch]:
    """The batches in which a model with so many neurons would read the sentences."""
    budget, processes = config.runtime.batch_tokens, config.runtime.num_processes
    return batches(read.sentences, budget, processes, sentences_at_once(num_neurons))


def is_here(corpus: DatasetConfig | TextConfig | ClozeConfig) -> bool:
    """Whether a corpus is read from this machine, not from the hub."""
    return corpus.source.name == "miniature" or corpus.root is not None


def batches(lengths: list[int], batch_tokens: int, processes: int, batch_rows: int | None = None) -> list[Batch]:
    """The batches in which sequences would be read by processes that each take every n-th."""
    shares = [lengths[rank::processes] for rank in range(processes)]
    return [(len(rows), share[rows[0]]) for share in shares for rows in rows_by_budget(share, batch_tokens, batch_rows)]
