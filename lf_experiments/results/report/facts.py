"""What was run: the model, the data, the seed and the versions, name by name."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.results.report.page import Table, plain_table
from lf_experiments.results.tables import checkpoint_text
from lf_experiments.storage import fingerprint

COMMIT_DIGITS = 12
FEW = 4
"""So many values of a fact in which runs differ are all shown."""
ROLES = {"dataset": "Sentences", "text": "Text", "cloze": "Stories"}
NOTHING_READ = fingerprint({})
"""The fingerprint of a corpus that no stage of the run was about."""

Facts = dict[str, str]


def main_facts(run: dict[str, Any], metrics: dict[str, Any] | None) -> Facts:
    """What a reader asks first: the model, from `metrics.json`, what it read, the seed and the versions, from `run.json`."""
    return {**(model_facts(metrics) if metrics else {}), **data_facts(run), "Started": run["started"]}


def model_facts(metrics: dict[str, Any]) -> Facts:
    """The model, its moment of training, and in how many languages it read how much."""
    sizes = (("parameters", "num_parameters"), ("layers", "num_layers"), ("neurons", "num_neurons"))
    size = [f"{metrics[key]:,} {name}" for name, key in sizes if metrics[key] is not None]
    languages = ", ".join(map(language_name, metrics["languages"]))
    return {
        "Model": ", ".join([metrics["model"], *size]),
        "Checkpoint": checkpoint_text(metrics),
        "Languages": f"{len(metrics['languages'])}: {languages}",
        "Sentences per language": f"{metrics['sentences_per_language']:,}, the same meanings in each",
    }


def data_facts(run: dict[str, Any]) -> Facts:
    """The corpora that were read, the seed and the versions."""
    facts = {ROLES[role]: corpus_text(corpus) for role, corpus in run["data"].items() if corpus["fingerprint"] != NOTHING_READ}
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return {**facts, "Seed": str(run["config"]["seed"]), "Versions": versions}


def corpus_text(corpus: dict[str, str]) -> str:
    """A corpus, the fingerprint of what was read of it, and under which licence it is."""
    licence = f", licence {corpus['licence']}" if corpus["licence"] else ""
    return f"{corpus['name']}, fingerprint {corpus['fingerprint']}{licence}"


def further_facts(run: dict[str, Any]) -> Facts:
    """What it takes to tell this run from a similar one."""
    facts = {name.replace("_", " ").capitalize(): str(value) for name, value in run["model"].items() if value is not None}
    return facts | ({"Git commit": run["git_commit"][:COMMIT_DIGITS]} if run["git_commit"] else {})


def facts_of_all(facts: list[Facts]) -> Facts:
    """What several runs have in common, and in what they differ; of many values only how many there are."""
    found: dict[str, dict[str, None]] = {}
    for facts_of_one in sorted(facts, key=len, reverse=True):
        for name, value in facts_of_one.items():
            found.setdefault(name, {})[value] = None
    return {
        name: "; ".join(values) if len(values) <= FEW else f"{len(values)} different ones" for name, values in found.items()
    }


def stages(run: dict[str, Any]) -> Table:
    """Duration and peak memory of every stage that ended well."""
    rows = [
        (name, f"{stage['seconds']:,.1f} s", f"{stage['peak_memory_bytes'] / 2**20:,.0f} MiB")
        for name, stage in run["stages"].items()
    ]
    return plain_table(pd.DataFrame(rows, columns=["Stage", "Duration", "Peak memory"]))
