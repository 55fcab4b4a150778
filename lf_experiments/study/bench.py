"""The bench: what is expensive, the texts, the model and its activations, fetched by verbs, each once.

Nothing is downloaded, grown, loaded or started by reading an attribute.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.config.schema import Config
from lf_experiments.corpora.doubts import doubts
from lf_experiments.corpora.parallel import ParallelSentences, drawn_sentences
from lf_experiments.corpora.stories import stories
from lf_experiments.corpora.story import Story
from lf_experiments.corpora.text import documents
from lf_experiments.evaluations.cells import CellCache, KeptCells, cell_file
from lf_experiments.hub import remove_snapshot
from lf_experiments.models.checkpoints import fetch_checkpoint, hub_commit, training_tokens, warn_of_known_faults
from lf_experiments.models.files import end_ids
from lf_experiments.models.fingerprints import configuration_fingerprint, tokenizer_fingerprint, weight_fingerprint
from lf_experiments.models.held import HELD
from lf_experiments.models.load import Reader, fetch_tokenizer, has_experts, input_device, load_tokenizer, text_beginning
from lf_experiments.models.number_format import number_format
from lf_experiments.models.quantized import stored_quantization
from lf_experiments.models.untrained import load_untrained
from lf_experiments.neurons.activations import Activations, RowsInMemory
from lf_experiments.neurons.capture import NewRows, capture_sentences
from lf_experiments.neurons.kept_capture import kept_captures
from lf_experiments.neurons.pooling import ROUTING
from lf_experiments.runs.claim import Stage
from lf_experiments.runs.folder import RunFolder
from lf_experiments.storage import DigestStore, evict, files_fingerprint, fingerprint
from lf_experiments.study.pools import pools_of_run

log = logging.getLogger(__name__)


class Bench:
    """What the stages of a run work with. Of the configuration they see only the fields they declare."""

    sentences: ParallelSentences
    """The parallel sentences, the same meanings in every language."""
    samples: pd.DataFrame
    """`language`, `meaning`, `text` of every sentence: language by language, the same meanings in each."""
    documents: dict[str, list[str]]
    """{language: texts whose perplexity is measured}"""
    stories: dict[str, list[Story]]
    """{language of the beginning: stories to be ended}"""
    _weights: Path
    """The folder of the model, once fetched."""

    def __init__(self, config: Config, folder: RunFolder) -> None:
        self._config = config
        self._architecture = ""
        self.is_quantized = False
        """Whether the weights are in so few bits that random ones would need more memory than they do."""
        self._activations: dict[str, Activations] | None = None
        self._has_experts = False
        self.folder = folder
        self.languages = config.languages
        """Language codes, in the order of the map."""
        self.batch_tokens = config.runtime.batch_tokens
        self.documents, self.stories = {}, {}
        self.known: dict[str, str] = {}
        """The fingerprints of the corpora and of the model that were fetched."""

    def fetch_corpora(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """Read `dataset` and those of `text` and `cloze` that are named; returns the facts of each for the record.

        Raises `InputError` for a corpus that cannot be read or lacks a language.
        """
        config = self._config
        self.sentences = drawn_sentences(config.dataset, self.languages, config.seed)
        self.samples = sample_table(self.sentences, self.languages)
        content: dict[str, Any] = {"dataset": self.samples.to_numpy().tolist()}
        if "text" in names:
            held_out = self.sentences if config.text.held_out else None
            content["text"] = self.documents = documents(config.text, self.languages, held_out)
        if "cloze" in names:
            self.stories = stories(config.cloze, self.languages)
            content["cloze"] = {language: list(map(asdict, told)) for language, told in self.stories.items()}
        self.warn_of_doubts()
        self.known |= {name: fingerprint(of_corpus) for name, of_corpus in content.items()}
        corpora = {name: getattr(config, name) for name in content}
        return {
            name: {"name": corpus.name, "fingerprint": self.known[name], "licence": corpus.licence}
            for name, corpus in corpora.items()
        }

    def warn_of_doubts(self) -> None:
        """Warn of texts that no number should rest on: copied, repeated, or in another script."""
        dataset, text = self._config.dataset.name, self._config.text.name
        found = doubts(f"dataset={dataset}", "sentences", self.sentences.texts)
        for doubt in [*found, *doubts(f"text={text}", "documents", self.documents)]:
            log.warning(doubt)

    def fetch_weights(self) -> dict[str, Any]:
        """Download or grow the model where it is not there; returns its facts for the record."""
        model, checkpoint = self._config.model, self._config.checkpoint
        warn_of_known_faults(model, checkpoint)
        self._weights = folder = fetch_checkpoint(self._config)
        self._has_experts = has_experts(folder, model)
        inputs = {
            "weights": weight_fingerprint(folder, DigestStore(self._config.cache_folder / "digests").digest),
            "configuration": configuration_fingerprint(folder, model.trust_remote_code),
            "tokenizer": tokenizer_fingerprint(fetch_tokenizer(folder, model)),
            "dtype": number_format(folder, model),
            "quantization": model.quantization and model.quantization.name,
            "special_tokens": model.special_tokens.name,
        }
        ends = end_ids(folder)
        self.known |= {"model": fingerprint(inputs), "ends": fingerprint(ends)}
        self.is_quantized = bool(inputs["quantization"] or stored_quantization(folder))
        self._architecture = fingerprint({name: value for name, value in inputs.items() if name != "weights"})
        return {
            "folder": str(folder),
            "fingerprint": self.known["model"],
            "weight_fingerprint": inputs["weights"],
            "configuration_fingerprint": inputs["configuration"],
            "tokenizer_fingerprint": inputs["tokenizer"],
            "dtype": inputs["dtype"],
            "stored_quantization": stored_quantization(folder),
            "texts_begin_with": text_beginning(folder, model),
            "end_tokens": ends,
            "hub_commit": hub_commit(model, folder),
            "training_tokens": training_tokens(model.recipe, checkpoint, model.hub),
        }

    def load_reader(self) -> Reader:
        """The model, loaded unless this process holds it, in as many processes as read at the same time."""
        config, runtime = self._config, self._config.runtime
        processes = runtime.num_processes, runtime.tensor_parallel
        return HELD.load(self._weights, config.model, *processes, self.known["model"])

    def capture(self, pool: str = "mean") -> Activations:
        """The activations of all sentences as a pool keeps them: from the cache, or recorded on the first call.

        The first call records in one pass all that the stages of the run are known to read (`pools_of_run`), what is to be
        kept for other runs (`cache.pools`) and, of a mixture of experts, `ROUTING`; another pool takes a pass of its own.
        """
        if self._activations is None:
            further = [pool.name for pool in self._config.cache.pools]
            self._activations = self.read([*pools_of_run(self._config), *([ROUTING] if self._has_experts else [])], further)
        if pool not in self._activations:
            self._activations |= self.read([pool])
        return self._activations[pool]

    def read(self, pools: Sequence[str], further: Sequence[str] = ()) -> dict[str, Activations]:
        """The activations of all sentences by pool, from the cache where there is one; it may keep further pools."""
        return self.kept(pools, further) if self._config.cache.enabled else self.record(self.sentences, pools)

    def capture_untrained(self, seed: int) -> Activations:
        """The activations of all sentences in the model before its training, its weights drawn with the seed.

        They are kept too, and serve every training step of the model. Where they are not there, the trained model is let go
        first: two may not fit where one does.
        """

        def make(
            sentences: ParallelSentences, pools: Sequence[str], new_rows: NewRows = RowsInMemory
        ) -> dict[str, Activations]:
            self.release_reader()
            reader = load_untrained(self._weights, self._config.model, seed)
            return capture_sentences(reader, sentences, self.batch_tokens, pools, new_rows)

        if not self._config.cache.enabled:
            return make(self.sentences, ["mean"])["mean"]
        folder = self.captures / fingerprint(["untrained", self._architecture, seed])
        found = kept_captures(folder, self.sentences, ["mean"], make)
        self.make_room()
        return found["mean"]

    def read_tokens(self) -> list[list[int]]:
        """The token ids of every sentence, language by language, without those that begin every text. No model is loaded."""
        config = self._config.model
        tokenizer = load_tokenizer(fetch_tokenizer(self._weights, config), config.trust_remote_code)
        texts = [text for of_language in self.sentences.texts.values() for text in of_language]
        return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]

    @property
    def captures(self) -> Path:
        """Where activations are kept between runs."""
        return self._config.cache_folder / "captures"

    @property
    def cells(self) -> Path:
        """Where evaluated cells are kept between runs."""
        return self._config.cache_folder / "cells"

    def make_room(self) -> None:
        """Remove what was not used for longest, where more is kept than the configuration wants."""
        evict(self.captures, self.cells, max_gib=self._config.cache.max_gib)

    def kept(self, pools: Sequence[str], further: Sequence[str] = ()) -> dict[str, Activations]:
        """The activations by pool from the cache; what is not there is recorded and kept, and then further pools too."""
        found = kept_captures(self.captures / self.known["model"], self.sentences, pools, self.record, further)
        self.make_room()
        return found

    def record(
        self, sentences: ParallelSentences, pools: Sequence[str], new_rows: NewRows = RowsInMemory
    ) -> dict[str, Activations]:
        """Read sentences with the model; the activations by pool."""
        return capture_sentences(self.load_reader(), sentences, self.batch_tokens, pools, new_rows)

    def kept_cells(self, stage: Stage, read: Mapping[str, list[Any]], *how: Any) -> KeptCells:
        """The cells of a stage that are there: what an interrupted run has left, and what runs with the same cache have kept.

        `read` is what is read in each language, and `how` all else that its cells depend on beside model and intervention.
        """
        left, kept = self.folder.unfinished(stage), None
        if self._config.cache.enabled:
            device = input_device(self.load_reader().model).type
            how = (*how, device, reading_code(), version("transformers"))
            folder = self.cells / self.known["model"] / stage.name
            kept = CellCache({language: cell_file(folder, items, language, *how) for language, items in read.items()})
        return KeptCells(left.kept, left.keep, kept)

    def evict_weights(self) -> None:
        """Remove downloaded weights where the configuration wants it."""
        if self._config.model.hub and self._config.cache.evict_hub:
            remove_snapshot(self._weights)

    def release_reader(self) -> None:
        """Let the model go, and the other processes that read with it; it is loaded again where it is needed again."""
        HELD.release()


@cache
def reading_code() -> str:
    """Names the code that reads texts under interventions, by its content: what other code has found is not trusted."""
    package = Path(__file__).parents[1]
    rooms = [package / name for name in ("evaluations", "models", "neurons")]
    return files_fingerprint(path for room in rooms for path in sorted(room.rglob("*.py")))


def sample_table(sentences: ParallelSentences, languages: list[str]) -> pd.DataFrame:
    """The sentences as rows: language by language, the same meanings in each."""
    rows = [
        (language, meaning, text)
        for language in languages
        for meaning, text in zip(sentences.meanings, sentences.texts[language], strict=True)
    ]
    return pd.DataFrame(rows, columns=["language", "meaning", "text"])
