"""The table of a sweep: one row per run found below a folder, whatever became of it, with everything that is one number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.results.tables import read_json, read_table

INTEGERS = ("num_parameters", "num_layers", "num_neurons", "sentences_per_language", "sklr")
SCORES = ("lrds", "sads", "sklr_fraction")
CLOZE_STDERR = "cloze_stderr"
BY_LANGUAGE = ("perplexity", "cloze_accuracy")

NO_VARIANT = ("model", "checkpoint", "stages", "generation", "control", "tracking", "runtime", "cache", "plan")
"""Parts of the configuration that have columns of their own, or that no column depends on."""
DESCRIPTIONS = ("licence", "source", "regions")
"""Keys that say more about a corpus whose name says enough, or what no column depends on."""


def sweep_table(folders: list[Path]) -> pd.DataFrame:
    """One row per run below the folders, whatever became of it, indexed by the run's folder.

    Columns: job, status, error, the overrides (joined, then one column per key, `<key>_override` where another column has
    that name), variant (how the configuration differs beside the model and the checkpoint), every scalar of `metrics.json` with
    perplexity and cloze accuracy by language and their means, the standard error of the latter, training tokens, weight
    fingerprint, and `duplicate_of`: the first job with the same weights that should have others. Rows are sorted by model,
    small ones first, training step and job.
    """
    records = {run: read_json(run / "run.json") for run in run_folders(folders)}
    if not records:
        return pd.DataFrame()
    index = list(records)
    facts = pd.DataFrame([run_facts(record) for record in records.values()], index)
    scalars = pd.DataFrame([run_scalars(run, record) for run, record in records.items()], index)
    overrides = pd.DataFrame([override_values(record) for record in records.values()], index, dtype=object)
    variants = variant_texts([record["config"] for record in records.values()])
    names = {"job", "variant", "duplicate_of", *facts, *scalars}
    overrides = overrides.rename(columns={key: f"{key}_override" for key in overrides if key in names})

    table = pd.concat([facts, overrides, scalars], axis=1)
    table.insert(0, "job", job_names(index, folders))
    table.insert(4, "variant", variants)
    integers = {name: "Int64" for name in (*INTEGERS, "training_step", "training_tokens")}
    numbers = {name: float for name in scalars if name in (*SCORES, CLOZE_STDERR) or name.startswith(BY_LANGUAGE)}
    table = in_order(table.astype(integers | numbers))
    return table.assign(duplicate_of=first_twins(table, records))


def run_folders(folders: list[Path]) -> list[Path]:
    """Every folder with a `run.json` below the folders or in them, once, outside hidden folders and those of wandb."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("run.json")):
            parts = path.relative_to(folder).parts
            if not any(part == "wandb" or part.startswith(".") for part in parts):
                found.setdefault(path.resolve(), path.parent)
    return list(found.values())


def job_names(runs: list[Path], folders: list[Path]) -> list[str]:
    """The path of every run relative to its sweep folder, or to the folder that all sweep folders are in."""
    root = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    return [run.resolve().relative_to(root).as_posix() if run.resolve() != root else root.name for run in runs]


def run_facts(record: dict[str, Any]) -> dict[str, Any]:
    """What became of a run, and how it was asked for."""
    return {
        "status": record["status"],
        "error": record["error"] or "",
        "overrides": " ".join(record["overrides"]),
    }


def override_values(record: dict[str, Any]) -> dict[str, str]:
    """The overrides, key by key: `+probe.threshold=1` becomes `probe.threshold` and `1`."""
    pairs = (override.lstrip("+~").partition("=") for override in record["overrides"])
    return {key: value for key, _, value in pairs}


def variant_texts(configs: list[dict[str, Any]]) -> list[str]:
    """For each run, the keys in which configurations differ beside the model and the checkpoint: they keep its line apart."""
    values = pd.DataFrame([pd.json_normalize(config).to_dict("records")[0] for config in configs], dtype=object)
    differing = [
        key
        for key in values
        if key.partition(".")[0] not in NO_VARIANT
        and key.rpartition(".")[2] not in DESCRIPTIONS
        and values[key].map(str).nunique() > 1
    ]
    keys = [key for key in differing if not (key.endswith(".root") and key.replace(".root", ".name") in differing)]
    rows = values[keys].to_dict("records")
    return [", ".join(f"{key}={value}" for key, value in row.items() if value is not None and value == value) for row in rows]


def run_scalars(run: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The scalars of `metrics.json`, None where they are missing; model and step are also known of a run that failed early."""
    path, config, weights = run / "metrics.json", record["config"], record["model"]
    metrics = read_json(path) if path.exists() and weights else None  # without weights they are an earlier run's
    step = config["checkpoint"]["step"]
    scalars = {
        "model": metrics["model"] if metrics else config["model"]["name"],
        "checkpoint": metrics["checkpoint"] if metrics else "final" if step is None else f"step{step}",
        "training_step": metrics["training_step"] if metrics else step,
        "training_tokens": weights["training_tokens"] if weights else None,
    }
    scalars |= {name: metrics[name] if metrics else None for name in (*INTEGERS, *SCORES)}
    for measure in BY_LANGUAGE:
        values = metrics[measure] if metrics else {}
        scalars |= {f"{measure}_{language}": value for language, value in values.items()}
        scalars[f"{measure}_mean"] = mean(list(values.values()))
    scalars[CLOZE_STDERR] = cloze_stderr(run) if metrics else None
    return scalars | {"weight_fingerprint": weights["weight_fingerprint"] if weights else ""}


def cloze_stderr(run: Path) -> float | None:
    """A standard error of the mean accuracy of the full model in the story cloze, None where it was not measured.

    It is the mean of the standard errors of the languages: they read the same stories, so that errors need not cancel.
    """
    if not (run / "cloze.csv").exists():
        return None
    table = read_table(run / "cloze.csv")
    return mean([None if pd.isna(error) else error for error in table.loc[table["deactivated"] == "none", "stderr"]])


def mean(values: list[float | None]) -> float | None:
    """The mean over all languages; None where one is missing: the mean of the others would not compare."""
    return sum(values) / len(values) if values and None not in values else None


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Small models first, then by name, training step and job; what is unknown comes last."""
    size = table.groupby("model")["num_parameters"].transform("max")
    order = table.assign(size=size).sort_values(["size", "model", "training_step", "job"], na_position="last").index
    return table.loc[order]


def first_twins(table: pd.DataFrame, records: dict[Path, Any]) -> list[str]:
    """For each row, the first job before it that has the same weights and should have others, or an empty text."""
    twins = []
    for position, (run, row) in enumerate(table.iterrows()):
        before = table.iloc[:position]
        same = before[before["weight_fingerprint"] == row["weight_fingerprint"]] if row["weight_fingerprint"] else before[:0]
        others = [twin["job"] for folder, twin in same.iterrows() if should_differ(row, twin, records[run], records[folder])]
        twins.append(others[0] if others else "")
    return twins


def should_differ(row: pd.Series, twin: pd.Series, record: dict[str, Any], twin_record: dict[str, Any]) -> bool:
    """Whether two runs claim to have read different weights.

    They do with other models, at other steps and, where a step is unknown, with other checkpoints or from other folders.
    """
    if row["model"] != twin["model"]:
        return True
    if pd.notna(row["training_step"]) and pd.notna(twin["training_step"]):
        return row["training_step"] != twin["training_step"]
    return row["checkpoint"] != twin["checkpoint"] or record["model"]["folder"] != twin_record["model"]["folder"]
