"""The study: the paper's method section as code, stage by stage.

1. capture     sentences -> neurons                    (sec. 3.1, eq. 5)
2. compare     neurons -> similarity map, LRDS, SADS   (sec. 3.1 and 3.2, eq. 6-9)
3. probe       neurons -> key linguistic regions       (sec. 3.3, eq. 10-14)
4. deactivate  regions -> perplexity without them      (sec. 4.3)
5. cloze       stories -> the likelier ending          (sec. 4.1 and 4.5, app. B)
6. generate    regions -> what is written without them (app. A)
7. report      tables -> figures, report, tracking

Each stage can be left out, and is skipped when its files are there with the same inputs.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lf_experiments.config import Config, InputError, Stage
from lf_experiments.corpora.parallel import ParallelSentences, drawn_sentences
from lf_experiments.corpora.stories import Story, stories
from lf_experiments.corpora.text import documents
from lf_experiments.evaluations.deactivation import NOTHING, RANDOM, Deactivation, baseline, perplexity_table
from lf_experiments.evaluations.generation import generation_table
from lf_experiments.evaluations.perplexity import text_windows
from lf_experiments.evaluations.story_cloze import cloze_table
from lf_experiments.hub import remove_snapshot
from lf_experiments.measures.regions import probe, random_region, region_of
from lf_experiments.measures.similarity import compare
from lf_experiments.models.checkpoints import (
    checkpoint_folder,
    hub_commit,
    tokenizer_fingerprint,
    training_step,
    training_tokens,
    warn_of_known_faults,
    weight_fingerprint,
)
from lf_experiments.models.load import Reader, tokenizer_folder
from lf_experiments.models.team import Team, assembled
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.kept_capture import Captured, evict, kept_captures
from lf_experiments.results.figures import save_figures
from lf_experiments.results.report import write_report
from lf_experiments.results.run_folder import RunFolder
from lf_experiments.results.tracking import log_run
from lf_experiments.storage import fingerprint, write_json

log = logging.getLogger(__name__)


class Study:
    """One model at one checkpoint, read with one set of sentences; the results go into one run folder."""

    def __init__(self, config: Config, run: RunFolder) -> None:
        self.config = config
        self.run = run

    def go(self) -> None:
        """Run the configured stages in their order, and let the other processes go."""
        try:
            self.run_stages()
        finally:
            if isinstance(self.__dict__.get("reader"), Team):
                self.reader.end()

    def run_stages(self) -> None:
        """Run the configured stages. Sentences and text are read first: they may not be usable."""
        warn_of_known_faults(self.config.model, self.config.checkpoint)
        self.run.note(data=self.data_facts())
        self.run.note(model=self.model_facts())
        for stage in Stage:
            if not self.run.is_done(stage.name, self.inputs(stage)):
                self.run.forget(stage.name)
        self.write_metrics()
        for stage in self.config.stages:
            self.run_stage(stage)
            self.write_metrics()
        if self.config.model.hub and self.config.cache.evict_hub:
            remove_snapshot(self.folder)

    def run_stage(self, stage: Stage) -> None:
        """Run one stage unless its results are there."""
        if self.run.is_done(stage.name, self.inputs(stage)):
            log.info("%s: done before with the same inputs", stage.name)
            return
        with self.run.stage(stage.name, self.inputs(stage)) as scalars:
            scalars.update(getattr(self, stage.name)() or {})

    def inputs(self, stage: Stage) -> dict[str, Any]:
        """Everything the results of a stage depend on."""
        inputs: dict[str, Any] = dict(self.capture_inputs)
        if stage not in (Stage.capture, Stage.compare):
            inputs["threshold"] = self.config.probe.threshold
        if stage in (Stage.deactivate, Stage.cloze):
            inputs["control"] = [self.config.control.draws, self.config.seed]
            inputs["context"] = self.config.model.context
        if stage is Stage.deactivate:
            inputs["text"] = [self.documents, self.config.text.windows.name, self.config.text.window]
        if stage is Stage.cloze:
            inputs["stories"] = [
                self.config.cloze.regions,
                {code: list(map(asdict, told)) for code, told in self.stories.items()},
            ]
        if stage is Stage.generate:
            inputs["prompts"] = [self.prompts, self.config.generation.tokens]
        if stage is Stage.report:
            inputs = {"stages": self.run.stages_done(), "tracking": self.run.record["config"]["tracking"]}
        return inputs

    # What is read -----------------------------------------------------------------------------------------------------

    @cached_property
    def sentences(self) -> ParallelSentences:
        """The parallel sentences, the same meanings in every language."""
        return drawn_sentences(self.config.dataset, self.config.languages, self.config.seed)

    @cached_property
    def samples(self) -> list[tuple[str, str, str]]:
        """(language, meaning, sentence) in the order of the map: language by language, the same meanings in each."""
        return [
            (language, meaning, text)
            for language in self.config.languages
            for meaning, text in zip(self.sentences.meanings, self.sentences.texts[language], strict=True)
        ]

    @cached_property
    def documents(self) -> dict[str, list[str]]:
        """The text whose perplexity is measured, by language; none where no perplexity is asked for."""
        return documents(self.config.text, self.config.languages) if self.concerns(Stage.deactivate) else {}

    @cached_property
    def stories(self) -> dict[str, list[Story]]:
        """The stories to be ended, by the language of their beginning; none where they are not asked for."""
        return stories(self.config.cloze, self.config.languages) if self.concerns(Stage.cloze) else {}

    @property
    def prompts(self) -> dict[str, list[str]]:
        """The sentences to be continued, by language."""
        languages = self.config.generation.languages or self.config.languages
        return {language: self.sentences.texts[language][: self.config.generation.samples] for language in languages}

    def concerns(self, stage: Stage) -> bool:
        """Whether a stage is to be run, or has left results in this folder."""
        return stage in self.config.stages or self.run.has(stage.name)

    # Who reads it -----------------------------------------------------------------------------------------------------

    @cached_property
    def folder(self) -> Path:
        """The folder of the weights."""
        return checkpoint_folder(self.config)

    @cached_property
    def reader(self) -> Reader:
        """The model, loaded when a stage needs it, in as many processes as are to read with it."""
        return assembled(self.folder, self.config.model, self.config.runtime.num_processes)

    @cached_property
    def reader_inputs(self) -> dict[str, Any]:
        """What the model makes of a sentence depends on this."""
        return {
            "weights": weight_fingerprint(self.folder),
            "tokenizer": tokenizer_fingerprint(tokenizer_folder(self.folder, self.config.model)),
            "dtype": self.config.model.dtype.name,
            "quantization": self.config.model.quantization and self.config.model.quantization.name,
            "add_special_tokens": self.config.model.add_special_tokens,
        }

    # 1. capture -------------------------------------------------------------------------------------------------------

    def capture(self) -> dict[str, int]:
        """Record the neurons on every sentence, eq. (5); leaves `samples.csv`, and the activations in the cache."""
        rows = pd.DataFrame(self.samples, columns=["language", "meaning", "text"])
        rows.insert(2, "tokens", self.captured.tokens_S.tolist())
        self.run.write_table("samples.csv", rows.rename_axis("index").reset_index())
        layers, _, neurons = self.captured.h_LSN.shape
        parameters = self.captured.num_parameters
        return {"num_parameters": parameters, "num_layers": layers, "num_neurons": layers * neurons}

    @cached_property
    def capture_inputs(self) -> dict[str, Any]:
        """Everything the activations depend on."""
        return {**self.reader_inputs, "samples": self.samples}

    @cached_property
    def captured(self) -> Captured:
        """The activations of all sentences: from the cache, or recorded now."""
        if Stage.capture not in self.config.stages:
            self.require(Stage.capture)
        texts = {language: self.sentences.texts[language] for language in self.config.languages}
        if not self.config.cache.enabled:
            return self.captured_now([text for sentences in texts.values() for text in sentences])
        captures = self.config.cache_folder / "captures"
        captured = kept_captures(captures / fingerprint(self.reader_inputs), texts, self.captured_now)
        evict(captures, self.config.cache.max_gib)
        return captured

    def captured_now(self, texts: list[str]) -> Captured:
        """Read sentences with the model."""
        h_LSN = capture(self.reader, texts, self.config.runtime.batch_tokens)
        tokens_S = torch.tensor([len(ids) for ids in self.reader.token_ids(texts)])
        return Captured(h_LSN, tokens_S, self.reader.num_parameters)

    @property
    def language_S(self) -> Tensor:
        """The number of the language of each sample."""
        return torch.arange(len(self.config.languages)).repeat_interleave(self.config.dataset.sentences)

    @property
    def meaning_S(self) -> Tensor:
        """The number of the meaning of each sample."""
        return torch.arange(self.config.dataset.sentences).repeat(len(self.config.languages))

    # 2. compare -------------------------------------------------------------------------------------------------------

    def compare(self) -> dict[str, float]:
        """Similarity map, LRDS and SADS, eq. (6)-(9); leaves `similarity.npy` and `layers.csv`."""
        comparison = compare(self.captured.h_LSN, self.language_S, self.meaning_S)
        self.run.write_array("similarity.npy", comparison.similarity_SS.to(torch.float32).numpy())
        scores = pd.DataFrame({"lrds": comparison.layer_lrds, "sads": comparison.layer_sads})
        self.run.write_table("layers.csv", scores.rename_axis("layer").reset_index())
        return {"lrds": comparison.lrds, "sads": comparison.sads}

    # 3. probe ---------------------------------------------------------------------------------------------------------

    def probe(self) -> dict[str, int]:
        """The key linguistic region of every language, eq. (10)-(14); leaves `regions.csv` and `key_neurons.parquet`."""
        regions = probe(self.captured.h_LSN, self.language_S, self.config.probe.threshold)
        self.run.write_table("regions.csv", regions.sizes(self.config.languages))
        self.run.write_table("key_neurons.parquet", regions.key_neurons(self.config.languages))
        return {"sklr": regions.sklr}

    # 4. deactivate ----------------------------------------------------------------------------------------------------

    def deactivate(self) -> dict[str, dict[str, float]]:
        """The perplexity of every language without each region and without random neurons; leaves `perplexity.csv`."""
        windows = {
            language: text_windows(self.reader, texts, self.config.text, language) for language, texts in self.documents.items()
        }
        cells = self.run.unfinished("deactivate", self.inputs(Stage.deactivate))
        table = perplexity_table(
            self.reader, self.deactivations(), windows, self.config.runtime.batch_tokens, cells.kept, cells.keep
        )
        self.run.write_table("perplexity.csv", table)
        return {"perplexity": baseline(table)}

    def deactivations(self) -> list[Deactivation]:
        """What is switched off: nothing, each key region, and as many random neurons as the largest region has."""
        regions = self.regions
        largest = max(int(region.sum()) for region in regions.values())
        return [
            self.nothing,
            *(Deactivation(language, 0, region) for language, region in regions.items()),
            *(
                Deactivation(RANDOM, draw, random_region(*self.shape, largest, self.seed_of(draw)))
                for draw in range(self.config.control.draws)
            ),
        ]

    @property
    def regions(self) -> dict[str, Tensor]:
        """The key region of each language, (layers, neurons), bool."""
        self.require(Stage.probe)
        key_neurons = self.run.read_table("key_neurons.parquet")
        return {language: region_of(language, key_neurons, *self.shape) for language in self.config.languages}

    @property
    def nothing(self) -> Deactivation:
        """No neuron off."""
        return Deactivation(NOTHING, 0, torch.zeros(self.shape, dtype=torch.bool))

    @property
    def shape(self) -> tuple[int, int]:
        """Layers, and neurons of each."""
        return len(self.reader.sites), self.reader.num_neurons_per_layer

    def seed_of(self, draw: int) -> int:
        """A seed per random control, unrelated between draws and between seeds of the run."""
        return int(fingerprint([self.config.seed, draw]), 16) % 2**63

    def require(self, stage: Stage) -> None:
        """Raise `InputError` unless the results of an earlier stage are in the run folder."""
        if not self.run.is_done(stage.name, self.inputs(stage)):
            names = [configured.name for configured in self.config.stages]
            raise InputError("stages", names, f"this run folder has no results of {stage.name}", f"add {stage.name}")

    # 5. cloze ---------------------------------------------------------------------------------------------------------

    def cloze(self) -> dict[str, dict[str, float]]:
        """How often the right ending is the likelier one, with and without each region; leaves `cloze.csv`."""
        deactivations = self.deactivations() if self.config.cloze.regions else [self.nothing]
        cells = self.run.unfinished("cloze", self.inputs(Stage.cloze))
        table = cloze_table(self.reader, deactivations, self.stories, self.config.runtime.batch_tokens, cells.kept, cells.keep)
        self.run.write_table("cloze.csv", table)
        whole = table[table["deactivated"] == NOTHING]
        return {"cloze_accuracy": whole.set_index("language")["accuracy"].to_dict()}

    # 6. generate ------------------------------------------------------------------------------------------------------

    def generate(self) -> None:
        """What the model writes after a sentence, with and without each region; leaves `generations.csv`."""
        regions = {language: region for language, region in self.regions.items() if language in self.prompts}
        deactivations = [self.nothing, *(Deactivation(language, 0, region) for language, region in regions.items())]
        rows = self.run.unfinished("generate", self.inputs(Stage.generate))
        table = generation_table(self.reader, deactivations, self.prompts, self.config.generation.tokens, rows.kept, rows.keep)
        self.run.write_table("generations.csv", table)

    # 7. report --------------------------------------------------------------------------------------------------------

    def report(self) -> None:
        """Figures and report of everything the run folder holds, and its mirror in the tracking service."""
        save_figures(self.run.path)
        write_report(self.run.path)
        self.run.note(tracking=log_run(self.config.tracking, self.run.path))

    # The record -------------------------------------------------------------------------------------------------------

    def write_metrics(self) -> None:
        """Write `metrics.json`, the scalars of the run; None where the stage that gives one was not run."""
        sklr, num_neurons = self.run.scalar("probe", "sklr"), self.run.scalar("capture", "num_neurons")
        step = self.config.checkpoint.step
        metrics = {
            "model": self.config.model.name,
            "checkpoint": "final" if step is None else f"step{step}",
            "training_step": training_step(self.config.model.recipe, self.config.checkpoint),
            "num_parameters": self.run.scalar("capture", "num_parameters"),
            "num_layers": self.run.scalar("capture", "num_layers"),
            "num_neurons": num_neurons,
            "languages": self.config.languages,
            "sentences_per_language": self.config.dataset.sentences,
            "lrds": self.run.scalar("compare", "lrds"),
            "sads": self.run.scalar("compare", "sads"),
            "sklr": sklr,
            "sklr_fraction": None if sklr is None else sklr / num_neurons,
            "perplexity": self.run.scalar("deactivate", "perplexity") or {},
            "cloze_accuracy": self.run.scalar("cloze", "cloze_accuracy") or {},
        }
        write_json(self.run.path / "metrics.json", metrics)

    def model_facts(self) -> dict[str, Any]:
        """Which weights and which tokenizer were read with."""
        return {
            "folder": str(self.folder),
            "weight_fingerprint": self.reader_inputs["weights"],
            "tokenizer_fingerprint": self.reader_inputs["tokenizer"],
            "hub_commit": hub_commit(self.config.model, self.folder),
            "training_tokens": training_tokens(self.config.model.recipe, self.config.checkpoint, self.config.model.hub),
        }

    def data_facts(self) -> dict[str, Any]:
        """Which sentences and which text were read."""
        dataset, text, cloze = self.config.dataset, self.config.text, self.config.cloze
        told = {language: list(map(asdict, found)) for language, found in self.stories.items()}
        return {
            "dataset": {"name": dataset.name, "fingerprint": fingerprint(self.samples), "licence": dataset.licence},
            "text": {"name": text.name, "fingerprint": fingerprint(self.documents), "licence": text.licence},
            "cloze": {"name": cloze.name, "fingerprint": fingerprint(told), "licence": cloze.licence},
        }
