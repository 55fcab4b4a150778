"""What the report of a sweep shows: its runs side by side, and in full what its main runs wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.results.families import family_names
from lf_experiments.results.figures import SWEEP_FIGURES, main_runs, saved_figures
from lf_experiments.results.paper.verdicts import verdicts_of_sweep
from lf_experiments.results.report import sections
from lf_experiments.results.report.facts import Facts, data_facts, facts_of_all
from lf_experiments.results.report.page import Table, picture, plain_table
from lf_experiments.results.tables import (
    checkpoint_text,
    count_text,
    line_names,
    perplexity_text,
    read_json,
    score_text,
    share_text,
    status_counts,
)


def sweep_content(folder: Path, table: pd.DataFrame, warnings: list[str]) -> dict[str, Any]:
    """Everything the template of a sweep shows."""
    records = {run: read_json(run / "run.json") for run in table.index}
    names = [*line_names(table), *family_names(table)]
    return {
        "title": folder.resolve().name,
        "subtitle": status_counts(table),
        "warnings": warnings,
        "facts": facts(table, records),
        "observations": sections.observations(verdicts_of_sweep(table), dict.fromkeys(names)),
        "figures": [picture(module, path) for module, path in saved_figures(folder, SWEEP_FIGURES)],
        "beside_paper": [found for run in table.index[table["status"] == "done"] if (found := sections.beside_paper(run))],
        "columns": list(run_columns(table)),
        "runs": runs(folder, table),
        "cloze": cloze(table),
        "main_runs": [main_run(run) for run in dict.fromkeys(main_runs(table).values())],
        "commands": list(dict.fromkeys(record["command"] for record in records.values())),
    }


def facts(table: pd.DataFrame, records: dict[Path, dict[str, Any]]) -> Facts:
    """What was run: all models and checkpoints, and what else the runs have in common or differ in."""
    started = sorted(record["started"] for record in records.values())
    return {
        "Models": ", ".join(table["model"].unique()),
        "Checkpoints": ", ".join(table["checkpoint"].unique()),
        **facts_of_all([data_facts(record) for record in records.values()]),
        "Started": " to ".join(dict.fromkeys((started[0], started[-1]))),
    }


def main_run(run: Path) -> dict[str, Any]:
    """What is shown in full of a run that stands for others."""
    metrics = read_json(run / "metrics.json")
    return {
        "name": f"{metrics['model']}, {checkpoint_text(metrics)}",
        "notes": sections.notes(run),
        "generations": sections.generations(run),
    }


def runs(folder: Path, table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per run, with the way to its own report, and what is wrong with it."""
    columns = run_columns(table)
    return [
        {
            "job": row["job"],
            "link": link(folder, run),
            "status": row["status"],
            "cells": [columns[name][run] for name in columns],
            "note": row["error"] or (row["duplicate_of"] and f"same weights as {row['duplicate_of']}"),
        }
        for run, row in table.iterrows()
    ]


def run_columns(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns of a sweep table that its report shows, as text; those in which no run has anything are left out."""
    columns = {
        "Model": ("model", str),
        "Variant": ("variant", str),
        "Checkpoint": ("checkpoint", str),
        "Step": ("training_step", "{:,}".format),
        "LRDS": ("lrds", score_text),
        "SADS": ("sads", score_text),
        "SKLR, share": ("sklr_fraction", share_text),
        "Perplexity, mean": ("perplexity_mean", perplexity_text),
        "Cloze, mean": ("cloze_accuracy_mean", share_text),
        "Tokens": ("training_tokens", count_text),
        "Parameters": ("num_parameters", "{:,}".format),
    }
    texts = {
        title: pd.Series(["–" if pd.isna(value) else form(value) for value in table[name]], table.index)
        for title, (name, form) in columns.items()
    }
    return {title: text for title, text in texts.items() if not text.isin(["–", ""]).all()}


def cloze(table: pd.DataFrame) -> Table | None:
    """The accuracy of every run in the story cloze, mean and language by language; None where no run has any."""
    prefix = "cloze_accuracy_"
    told = table[table["cloze_accuracy_mean"].notna() & (table["status"] == "done")]
    if told.empty:
        return None
    languages = [name.removeprefix(prefix) for name in table if name.startswith(prefix) and not name.endswith("_mean")]
    cells = {
        "Model": line_names(told),
        "Checkpoint": told["checkpoint"],
        "Mean": map(sections.accuracy_text, told["cloze_accuracy_mean"], told["cloze_stderr"]),
        **{language_name(code): [sections.accuracy_text(value, None) for value in told[prefix + code]] for code in languages},
    }
    return plain_table(pd.DataFrame({name: list(values) for name, values in cells.items()}))


def link(folder: Path, run: Path) -> str | None:
    """The way from a sweep's report to that of one of its runs, or None where the run has none."""
    report = run / "report.html"
    return quote(os.path.relpath(report, folder)) if report.exists() else None
