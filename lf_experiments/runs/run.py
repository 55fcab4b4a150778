"""What a run left in its folder, read: `Run("outputs/2026-11-24/10-00-00").perplexity`.

The only reader of these folders: figures, report, verdicts, trackers and the summary take a `Run`, or a `Sweep` of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lf_experiments.errors import InputError
from lf_experiments.runs.derived import language_similarities, mean_stderr, without_each_meaning
from lf_experiments.runs.metrics import Metrics
from lf_experiments.runs.record import NAME, Record, read_record
from lf_experiments.runs.tables import read_json, read_table

UNREADABLE, UNKNOWN = "unreadable", "unknown"
"""The status of a run whose `run.json` or `metrics.json` cannot be read, and of a folder that has no `run.json`."""

Content = TypeVar("Content")


def table(name: str, *texts: str) -> cached_property[pd.DataFrame | None]:
    """A property: a table of the folder, read once; None where it is not there. The columns `texts` are always text."""

    def read(path: Path) -> pd.DataFrame:
        return pd.read_parquet(path) if path.suffix == ".parquet" else read_table(path, texts)

    return cached_property(lambda run: run.read(name, read))


class Run:
    """A run folder. What is not there is None; a file that cannot be read is an `InputError` that names it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    samples = table("samples.csv", "meaning", "text")
    layers = table("layers.csv")
    pairs = table("pairs.csv")
    contributions = table("contributions.parquet")
    influence = table("influence.parquet")
    baselines = table("baselines.csv")
    regions = table("regions.csv")
    key_neurons = table("key_neurons.parquet")
    neurons = table("neurons.parquet")
    stability = table("stability.csv")
    perplexity = table("perplexity.csv", "matches")
    perplexity_windows = table("perplexity_windows.parquet")
    effects = table("effects.csv")
    doses = table("doses.csv")
    neuron_scores = table("neuron_scores.parquet")
    cloze = table("cloze.csv", "matches")
    cloze_stories = table("cloze_stories.parquet")
    tasks = table("tasks.csv")
    generations = table("generations.csv", "prompt", "text")

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The content of `run.json`: status, configuration, versions, weights, data, stages."""
        return self.read(NAME, readable_record)

    @cached_property
    def metrics(self) -> Metrics | None:
        """The scores of the run and what they are of."""
        return self.read("metrics.json", lambda path: Metrics.from_json(read_json(path)))

    @cached_property
    def similarity(self) -> np.ndarray | None:
        """The similarity map (eq. 7), (samples, samples) in float32, in the order of `samples`."""
        return self.read("similarity.npy", np.load)

    @cached_property
    def layer_maps(self) -> np.ndarray | None:
        """The similarity map of every layer by itself, (layers, R, R) in float16: the samples of the first meanings alone."""
        return self.read("layer_maps.npy", np.load)

    @cached_property
    def language_similarities(self) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """The mean similarities of the languages, over the same meaning and over different ones; see `derived`."""
        if self.similarity is None or self.samples is None:
            return None
        return language_similarities(self.similarity.astype(float), self.samples)

    @cached_property
    def without_each_meaning(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The same again without each meaning in turn, (M, G, G); see `derived`."""
        if self.similarity is None or self.samples is None:
            return None
        return without_each_meaning(self.similarity.astype(float), self.samples)

    @property
    def cloze_stderr(self) -> float | None:
        """A standard error of the mean accuracy of the full model in the story cloze, None where it was not measured.

        It is the mean of the standard errors of the languages: they read the same stories, so that errors need not cancel.
        """
        return None if self.cloze is None else mean_stderr(self.cloze)

    @property
    def status(self) -> str:
        """`done`, `failed`, `running`, `unreadable`, or `unknown` where there is no `run.json`."""
        try:
            record, _ = self.record, self.metrics
        except InputError:
            return UNREADABLE
        return record["status"] if record else UNKNOWN

    @property
    def name(self) -> str:
        """The name of the model, or that of the folder where no model is known."""
        if self.metrics:
            return self.metrics.model
        return self.record["config"]["model"]["name"] if self.record else self.folder.resolve().name

    @property
    def title(self) -> str:
        """The model and the moment of its training; empty where `metrics.json` is missing."""
        return f"{self.metrics.model}, {self.metrics.moment}" if self.metrics else ""

    @property
    def stages_done(self) -> int:
        """How many stages have ended well."""
        return len(self.record["stages"]) if self.record else 0

    def has(self, *files: str) -> bool:
        """Whether all these files are there."""
        return all((self.folder / name).is_file() for name in files)

    def read(self, name: str, read: Callable[[Path], Content]) -> Content | None:
        """A file of the folder, None where it is not there; raises `InputError` where it cannot be read."""
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return read(path)
        except (ValueError, KeyError, TypeError, EOFError) as error:
            problem = f"it cannot be read: {type(error).__name__}: {error}"
            raise InputError(name, path, problem, "restore the file, or remove it and run the stage again") from error


def readable_record(path: Path) -> Record:
    """The record of a run that says which model it is of, and at which step."""
    record = read_record(path.parent)
    if record is None:
        raise ValueError("it has gone")
    _ = record["config"]["model"]["name"], record["config"]["checkpoint"]["step"]
    return record
