"""What was run: the model, the data, the seed and the versions, name by name."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.runs.metrics import Metrics
from lf_experiments.runs.run import Run

COMMIT_DIGITS = 12
FEW = 4
"""So many values of a fact in which runs differ are all shown."""
ROLES = {"dataset": "Sentences", "text": "Text", "cloze": "Stories"}

BEGINNING = "texts_begin_with"
"""The key of `run.json` that has the special tokens before every text."""

Facts = dict[str, str]


def main_facts(run: Run) -> Facts:
    """What a reader asks first: the model, from `metrics.json`, what it read, the seed and the versions, from `run.json`."""
    model = model_facts(run.metrics) if run.metrics else {}
    return {**model, **beginning_facts(run.record), **data_facts(run.record), "Started": run.record["started"]}


def model_facts(metrics: Metrics) -> Facts:
    """The model, its moment of training, and in how many languages it read how much."""
    sizes = {"parameters": metrics.num_parameters, "layers": metrics.num_layers, "neurons": metrics.num_neurons}
    size = [f"{number:,} {name}" for name, number in sizes.items() if number is not None]
    languages = ", ".join(map(language_name, metrics.languages))
    return {
        "Model": ", ".join([metrics.model, *size]),
        "Checkpoint": metrics.moment,
        "Languages": f"{len(metrics.languages)}: {languages}",
        "Sentences per language": f"{metrics.sentences_per_language:,}, the same meanings in each",
    }


def beginning_facts(record: dict[str, Any]) -> Facts:
    """How every text began that the model read; nothing of a run whose record does not say."""
    begins = record["model"].get(BEGINNING)
    return {} if begins is None else {"Special tokens": f"every text begins with {begins}" if begins else "none"}


def data_facts(record: dict[str, Any]) -> Facts:
    """The corpora that were read, the seed and the versions."""
    corpora = {ROLES.get(role, role.capitalize()): corpus_text(corpus) for role, corpus in record["data"].items()}
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return {**corpora, "Seed": str(record["config"]["seed"]), "Versions": versions}


def corpus_text(corpus: dict[str, str]) -> str:
    """A corpus, the fingerprint of what was read of it, and its licence."""
    licence = f", licence {corpus['licence']}" if corpus["licence"] else ""
    return f"{corpus['name']}, fingerprint {corpus['fingerprint']}{licence}"


def fingerprints(record: dict[str, Any]) -> Facts:
    """What it takes to tell this run from a similar one."""
    model = {name: value for name, value in record["model"].items() if value is not None and name != BEGINNING}
    facts = {name.replace("_", " ").capitalize(): str(value) for name, value in model.items()}
    return facts | ({"Git commit": record["git_commit"][:COMMIT_DIGITS]} if record["git_commit"] else {})


def facts_of_all(facts: list[Facts]) -> Facts:
    """What several runs have in common, and in what they differ; of many values only how many there are."""
    found: dict[str, dict[str, None]] = {}
    for facts_of_one in sorted(facts, key=len, reverse=True):
        for name, value in facts_of_one.items():
            found.setdefault(name, {})[value] = None
    return {
        name: "; ".join(values) if len(values) <= FEW else f"{len(values)} different ones" for name, values in found.items()
    }


def stages(record: dict[str, Any]) -> pd.DataFrame:
    """Duration and peak memory of every stage that ended well."""
    rows = [
        (name, f"{stage['seconds']:,.1f} s", f"{stage['peak_memory_bytes'] / 2**20:,.0f} MiB")
        for name, stage in record["stages"].items()
    ]
    return pd.DataFrame(rows, columns=["Stage", "Duration", "Peak memory"])
