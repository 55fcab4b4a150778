"""The table of a sweep: one row per run found below a folder, whatever became of it, with everything that is one number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.errors import InputError
from lf_experiments.runs.metrics import HIGH, LOW, P_VALUE, Metrics
from lf_experiments.runs.run import UNREADABLE, Run
from lf_experiments.runs.scores import CLOZE, SCORES
from lf_experiments.runs.tables import read_table
from lf_experiments.runs.variants import variant_texts

SIZES = ("num_parameters", "num_layers", "num_neurons", "sentences_per_language")
INTEGERS = ("training_step", "training_tokens", *SIZES, *(score.key for score in SCORES if score.integer))
TEXTS = (
    "job",
    "status",
    "error",
    "overrides",
    "variant",
    "model",
    "family",
    "checkpoint",
    "weight_fingerprint",
    "duplicate_of",
)
"""The columns that are text, empty where there is nothing to say."""
HEAD = ["job", "status", "error", "overrides", "variant"]
CLOZE_STDERR = "cloze_stderr"


def sweep_table(folders: list[Path]) -> pd.DataFrame:
    """One row per run below the folders, whatever became of it, indexed by its `Run`.

    Columns: job, status, error, the overrides (joined, then one column per key, `<key>_override` where another column has
    that name), variant (how the configuration differs beside the model and the checkpoint), the model, its family, moment
    and sizes, every score of `SCORES` (by language too, with its mean), the ends of its interval (`<column>_lo`, `_hi`) and
    its p-value under shuffled labels (`<column>_p`) where it has them, weight fingerprint, and `duplicate_of`: the first job
    with the same weights that should have others.
    A run that cannot be read has the status `unreadable` and the reason as its error. Rows are sorted by model, small ones
    first, training step and job.
    """
    runs = [Run(folder) for folder in run_folders(folders)]
    if not runs:
        return pd.DataFrame()
    table = pd.DataFrame([row_of(run) for run in runs], runs)
    table = table.astype({name: "Int64" if name in INTEGERS else float for name in table if is_number(name)}).copy()
    given = [record_of(run) for run in runs]
    table = table.assign(
        job=job_names([run.folder for run in runs], folders),
        variant=variant_texts([record.get("config", {}) for record in given]),
        duplicate_of="",
    )
    overrides = pd.DataFrame([override_values(record.get("overrides", [])) for record in given], runs, dtype=object)
    overrides = overrides.rename(columns={key: f"{key}_override" for key in overrides if key in table})
    table = in_order(pd.concat([table[HEAD], overrides, table.drop(columns=HEAD)], axis=1))
    return table.assign(duplicate_of=first_twins(table))


def run_folders(folders: list[Path]) -> list[Path]:
    """Every folder with a `run.json` below the folders or in them, once, outside hidden folders and those of wandb."""
    found: dict[Path, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("run.json")):
            parts = path.relative_to(folder).parts
            if path.is_file() and not any(part == "wandb" or part.startswith(".") for part in parts):
                found.setdefault(path.resolve(), path.parent)
    return list(found.values())


def job_names(runs: list[Path], folders: list[Path]) -> list[str]:
    """The path of every run relative to its sweep folder, or to the folder that all sweep folders are in."""
    root = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    return [run.resolve().relative_to(root).as_posix() if run.resolve() != root else root.name for run in runs]


def record_of(run: Run) -> dict[str, Any]:
    """The content of `run.json`, nothing where it cannot be read."""
    try:
        return run.record or {}
    except InputError:
        return {}


def row_of(run: Run) -> dict[str, Any]:
    """What became of a run, what it read, and what it came to."""
    record = record_of(run)
    weights = record.get("model") or {}
    try:
        metrics = run.metrics if weights else None  # without weights they are an earlier run's
        status, error = run.record["status"], run.record["error"] or ""
        numbers = scores_of(run, metrics)
    except InputError as unreadable:
        metrics, status, error, numbers = None, UNREADABLE, str(unreadable), scores_of(run, None)
    return {
        "status": status,
        "error": error,
        "overrides": " ".join(record.get("overrides", [])),
        **(asked_for(record.get("config")) if metrics is None else read_by(metrics)),
        "training_tokens": weights.get("training_tokens"),
        **{name: getattr(metrics, name, None) for name in SIZES},
        **numbers,
        "weight_fingerprint": weights.get("weight_fingerprint", ""),
    }


def read_by(metrics: Metrics) -> dict[str, Any]:
    """The model that was read, and its moment."""
    return {name: getattr(metrics, name) for name in ("model", "family", "checkpoint", "training_step")}


def asked_for(config: dict[str, Any] | None) -> dict[str, Any]:
    """The same of a run that failed early, as far as its configuration tells."""
    if config is None:
        return {"model": "", "family": "", "checkpoint": "", "training_step": None}
    model, step = config["model"], config["checkpoint"]["step"]
    checkpoint = "final" if step is None else f"step{step}"
    return {
        "model": model["name"],
        "family": model.get("family") or model["name"],
        "checkpoint": checkpoint,
        "training_step": step,
    }


def scores_of(run: Run, metrics: Metrics | None) -> dict[str, float | None]:
    """Every score, None where it is missing; of one by language the values and their mean; intervals where there are any."""
    values: dict[str, float | None] = {}
    for score in SCORES:
        if score.by_language and metrics:
            values |= {f"{score.key}_{language}": value for language, value in (metrics[score.key] or {}).items()}
        values[score.column] = metrics.value(score) if metrics else None
        if metrics and (interval := metrics.interval(score.column)):
            values |= {score.column + LOW: interval[0], score.column + HIGH: interval[1]}
        if metrics and (p_value := metrics.p_value(score.key)) is not None:
            values[score.column + P_VALUE] = p_value
    error = run.cloze_stderr if metrics else None
    if error is not None and values[CLOZE.column] is not None:
        mean = values[CLOZE.column]
        values = {CLOZE.column + LOW: mean - error, CLOZE.column + HIGH: mean + error} | values
    return values | {CLOZE_STDERR: error}


def is_number(name: str) -> bool:
    """Whether a column is one of numbers."""
    return name in (*INTEGERS, CLOZE_STDERR) or any(name == score.key or name.startswith(f"{score.key}_") for score in SCORES)


def override_values(overrides: list[str]) -> dict[str, str]:
    """The overrides, key by key: `+probe.threshold=1` becomes `probe.threshold` and `1`."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Small models first, then by name, training step and job; what is unknown comes last."""
    size = table.groupby("model")["num_parameters"].transform("max")
    keys = table.assign(size=size).reset_index()
    order = keys.sort_values(["size", "model", "training_step", "job"], na_position="last").index
    return table.iloc[order]


def first_twins(table: pd.DataFrame) -> list[str]:
    """For each row, the first job before it that has the same weights and should have others, or an empty text."""
    twins = []
    for position, (run, row) in enumerate(table.iterrows()):
        before = table.iloc[:position]
        same = (
            before[before["weight_fingerprint"] == row["weight_fingerprint"]] if row["weight_fingerprint"] else before.iloc[:0]
        )
        others = [twin["job"] for other, twin in same.iterrows() if should_differ(row, twin, run, other)]
        twins.append(others[0] if others else "")
    return twins


def should_differ(row: pd.Series, twin: pd.Series, run: Run, other: Run) -> bool:
    """Whether two runs claim to have read different weights.

    They do with other models, at other steps and, where a step is unknown, with other checkpoints or from other folders.
    """
    if row["model"] != twin["model"]:
        return True
    if pd.notna(row["training_step"]) and pd.notna(twin["training_step"]):
        return row["training_step"] != twin["training_step"]
    return row["checkpoint"] != twin["checkpoint"] or run.record["model"]["folder"] != other.record["model"]["folder"]


def read_sweep(path: Path) -> pd.DataFrame:
    """A `sweep.csv` as it was written; text stays text where it looks like a number."""
    return read_table(path, TEXTS)
