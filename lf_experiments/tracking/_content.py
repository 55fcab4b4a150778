"""What every tracker is given of a run or a sweep, as plain values: numbers over their axes, tables, figures and files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from lf_experiments.figures.catalogue import FIGURES, SWEEP_FIGURES
from lf_experiments.figures.save import saved_figures
from lf_experiments.runs.lines import line_names
from lf_experiments.runs.metrics import HIGH, LOW, P_VALUE, Metrics
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES
from lf_experiments.runs.sweep import Sweep

FILES = ("*.csv", "*.parquet", "*.npy", "report.html")
"""What is kept of a folder as it is."""
ENDS = ("", LOW, HIGH, P_VALUE)
"""Behind the key of a score: the score itself, the ends of its interval, and its p-value."""
NAME_LETTERS = 100
"""Of the name of an artifact: wandb takes 128."""
SWEEP_AXES = {"training_step": "by_step", "training_tokens": "by_tokens", "num_parameters": "by_parameters"}
"""The axes of the series of a sweep, and the section of the dashboard that each has."""


@dataclass(frozen=True)
class Series:
    """Numbers that are drawn over an axis."""

    axes: tuple[str, ...]
    """The names in `points` that are axes, the one to draw over first; none where a run's moment of training is unknown."""
    names: tuple[str, ...]
    """The numbers: their names in `points`, or a pattern such as `layers/*`."""
    points: list[dict[str, float]]


@dataclass(frozen=True)
class Content:
    """A run or a sweep, for a tracker."""

    folder: Path
    """Where it is, and where a tracker may put its own files."""
    name: str
    kind: Literal["job", "sweep"]
    config: dict[str, Any]
    has_failed: bool
    series: list[Series]
    tables: dict[str, pd.DataFrame]
    figures: dict[str, tuple[Path, str]]
    """{stem: (PNG, caption)}"""
    files: list[Path]
    """Tables, regions, the similarity map and the report, to be kept together as one artifact."""

    @property
    def artifact(self) -> str:
        """The name of the artifact, in the letters that trackers take."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name)[:NAME_LETTERS]


def content_of_run(run: Run) -> Content:
    """What a run folder holds, called by model and checkpoint, or by the folder where it came to no numbers."""
    return Content(
        folder=run.folder,
        name=f"{run.metrics.model} {run.metrics.checkpoint}" if run.metrics else run.folder.name,
        kind="job",
        config=run.record["config"],
        has_failed=run.status == "failed",
        series=[*score_series(run), *layer_series(run)],
        tables=tables(run),
        figures={figure.stem: (path, figure.caption) for figure, path in saved_figures(run.folder, FIGURES)},
        files=kept_files(run.folder),
    )


def content_of_sweep(sweep: Sweep, folder: Path, name: str) -> Content:
    """What `write_sweep` left in a folder: the table of the runs, and every score of theirs as a series over each axis."""
    return Content(
        folder=folder,
        name=name,
        kind="sweep",
        config={"sweep": name, "jobs": list(sweep.table["job"])},
        has_failed=bool((sweep.table["status"] == "failed").any()),
        series=[Series((axis,), (f"{section}/*",), axis_points(sweep.table, axis)) for axis, section in SWEEP_AXES.items()],
        tables={"sweep": sweep.table},
        figures={figure.stem: (path, figure.caption) for figure, path in saved_figures(folder, SWEEP_FIGURES)},
        files=kept_files(folder),
    )


def score_series(run: Run) -> list[Series]:
    """The scores, the ends of their intervals and the size of the model, over the training step, or the tokens read."""
    if run.metrics is None:
        return []
    metrics = run.metrics
    sizes = {"num_parameters": metrics.num_parameters, "num_layers": metrics.num_layers, "num_neurons": metrics.num_neurons}
    moment = {"training_step": metrics.training_step, "training_tokens": run.record["model"].get("training_tokens")}
    numbers, axes = known({**score_values(metrics), **sizes}), known(moment)
    return [Series(tuple(axes), tuple(numbers), [numbers | axes])]


def score_values(metrics: Metrics) -> dict[str, Any]:
    """Every score with the ends of its interval: `lrds`, `lrds_lo`, and `perplexity/fr` where there is one per language."""
    values: dict[str, Any] = {}
    for key in (score.key + end for score in SCORES for end in ENDS):
        value = metrics[key]
        values |= (
            {f"{key}/{language}": of_one for language, of_one in value.items()} if isinstance(value, dict) else {key: value}
        )
    return values


def layer_series(run: Run) -> list[Series]:
    """The columns of `layers.csv` over the layer."""
    if run.layers is None:
        return []
    rows = run.layers.rename(columns=lambda name: name if name == "layer" else f"layers/{name}").to_dict("records")
    return [Series(("layer",), ("layers/*",), [known(row) for row in rows])]


def tables(run: Run) -> dict[str, pd.DataFrame]:
    """The tables of a run; an empty text is a missing value, as in its CSV file."""
    found = {
        "layers": run.layers,
        "pairs": run.pairs,
        "baselines": run.baselines,
        "regions": run.regions,
        "stability": run.stability,
        "perplexity": run.perplexity,
        "effects": run.effects,
        "cloze": run.cloze,
        "tasks": run.tasks,
        "generations": run.generations,
    }
    return {name: table.mask(table == "") for name, table in found.items() if table is not None}


def axis_points(table: pd.DataFrame, axis: str) -> list[dict[str, float]]:
    """Every finished run as a point over an axis that it has a value on; over parameters, those with final weights."""
    lines = line_names(table)
    shown = table[(table["status"] == "done") & table[axis].notna()]
    if axis == "num_parameters":
        shown = shown[shown["checkpoint"] == "final"]
    columns = [name for score in SCORES for end in ENDS if (name := score.column + end) in table]
    points = []
    for line, row in zip(lines[shown.index], shown.to_dict("records"), strict=True):
        suffix = "" if axis == "num_parameters" or lines.nunique() == 1 else f" {line}"
        numbers = known({f"{SWEEP_AXES[axis]}/{name}{suffix}": row[name] for name in columns})
        points += [{axis: row[axis], **numbers}] if numbers else []
    return points


def known(values: dict[str, Any]) -> dict[str, Any]:
    """Without the values that are missing."""
    return {name: value for name, value in values.items() if pd.notna(value)}


def kept_files(folder: Path) -> list[Path]:
    """The files of a folder that an artifact holds."""
    return sorted(path for pattern in FILES for path in folder.glob(pattern) if path.is_file())
