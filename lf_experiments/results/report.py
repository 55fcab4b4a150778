"""The report of a run or a sweep: one HTML page that opens anywhere, without a network, from whatever its folder holds."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lf_experiments.languages import language_name
from lf_experiments.results.figures import EVOLUTION_FIGURES, can_be_drawn, saved_figures, table1_deactivation
from lf_experiments.results.tables import (
    checkpoint_text,
    count_text,
    perplexity_text,
    read_json,
    read_table,
    score_text,
    share_text,
    status_counts,
)
from lf_experiments.storage import write_text

TEMPLATES = Path(__file__).parent
COMMIT_DIGITS = 12


def write_report(folder: Path) -> None:
    """Write `report.html` of a run. A section whose files are not there is left out."""
    write_text(folder / "report.html", page("report.html.jinja", content(folder)))


def write_sweep_report(folder: Path, table: pd.DataFrame, warnings: list[str]) -> None:
    """Write `report.html` of a sweep: warnings, the evolution figures that are in the folder, and the table of its runs.

    `table` is that of `sweep_table`, indexed by the folders of the runs, whose own reports are linked by relative paths.
    """
    write_text(folder / "report.html", page("sweep.html.jinja", sweep_content(folder, table, warnings)))


def page(template: str, values: dict[str, Any]) -> str:
    """A page made of a template; everything is escaped, and a value that is missing is an error."""
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(values)


def content(folder: Path) -> dict[str, Any]:
    """Everything the template shows; None or empty where the run folder has nothing to show."""
    run = read_json(folder / "run.json") if (folder / "run.json").exists() else None
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else None
    return {
        "title": metrics["model"] if metrics else folder.name,
        "checkpoint": checkpoint_text(metrics) if metrics else None,
        "run": run,
        "scores": scores(metrics) if metrics else [],
        "figures": [figure(module.TITLE, module.CAPTION, path) for module, path in saved_figures(folder)],
        "deactivation": deactivation(folder),
        "baseline": baseline(folder),
        "layers": layers(folder),
        "sentences": sentences(folder),
        "facts": facts(run) if run else [],
        "stages": stages(run) if run else [],
        "config": json.dumps(run["config"], indent=2, ensure_ascii=False) if run else None,
    }


def scores(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The main figures: name, value and meaning. What was not measured is left out."""
    rows = [
        ("LRDS", metrics["lrds"], "{:.4f}", "separates languages; lower is more language-agnostic (eq. 8)"),
        ("SADS", metrics["sads"], "{:.4f}", "aligns meanings across languages; higher is more semantic (eq. 9)"),
        ("SKLR", metrics["sklr"], "{:,}", "key neurons of all languages together (sec. 3.2)"),
        ("SKLR, share", metrics["sklr_fraction"], None, "of all neurons"),
        ("Languages", len(metrics["languages"]), "{}", ", ".join(map(language_name, metrics["languages"]))),
        ("Sentences", metrics["sentences_per_language"], "{:,}", "per language, the same meanings in each"),
        ("Neurons", metrics["num_neurons"], "{:,}", "in all layers"),
        ("Layers", metrics["num_layers"], "{:,}", ""),
        ("Parameters", metrics["num_parameters"], "{:,}", ""),
    ]
    return [
        (name, form.format(value) if form else share_text(value), meaning)
        for name, value, form, meaning in rows
        if value is not None
    ]


def figure(title: str, caption: str, path: Path) -> dict[str, str]:
    """A figure that carries its own bytes."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return {"title": title, "caption": caption, "source": f"data:image/png;base64,{data}"}


def deactivation(folder: Path) -> pd.DataFrame | None:
    """The paper's Table 1, as text."""
    return table1_deactivation.wide_text(folder).reset_index() if can_be_drawn(table1_deactivation, folder) else None


def baseline(folder: Path) -> pd.DataFrame | None:
    """How well the full model predicts each language; bits per byte compare across tokenizers, perplexities do not."""
    path = folder / "perplexity.csv"
    if not path.exists():
        return None
    table = read_table(path)
    table = table[table["deactivated"] == "none"]
    return pd.DataFrame(
        {
            "Language": table["language"].map(language_name),
            "Perplexity": table["perplexity"].map(perplexity_text),
            "Bits per byte": table["bits_per_byte"].map("{:.3f}".format),
            "Tokens": table["tokens"].map("{:,}".format),
        }
    )


def layers(folder: Path) -> pd.DataFrame | None:
    """LRDS and SADS of every layer, and its key neurons where regions were probed."""
    if not (folder / "layers.csv").exists():
        return None
    table = read_table(folder / "layers.csv")
    text = pd.DataFrame({"Layer": table["layer"], "LRDS": table["lrds"].map(score_text), "SADS": table["sads"].map(score_text)})
    if (folder / "regions.csv").exists():
        key_neurons = read_table(folder / "regions.csv").groupby("layer")["key_neurons"].sum()
        text["Key neurons"] = table["layer"].map(key_neurons).map("{:,}".format)
    return text


def sentences(folder: Path) -> list[dict[str, str]]:
    """The first meaning in every language."""
    path = folder / "samples.csv"
    if not path.exists():
        return []
    table = read_table(path)
    first = table[table["meaning"] == table["meaning"].iloc[0]]
    return [
        {"code": code, "language": language_name(code), "text": text}
        for code, text in zip(first["language"], first["text"], strict=True)
    ]


def facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What was run, name by name."""
    rows = [("Started", run["started"]), ("Seed", run["config"]["seed"])]
    rows += [(name.replace("_", " ").capitalize(), value) for name, value in run["model"].items() if value is not None]
    for role, corpus in run["data"].items():
        licence = f", licence {corpus['licence']}" if corpus["licence"] else ""
        rows.append((f"{role.capitalize()}", f"{corpus['name']}, fingerprint {corpus['fingerprint']}{licence}"))
    if run["git_commit"] is not None:
        rows.append(("Git commit", run["git_commit"][:COMMIT_DIGITS]))
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items())))
    return [(name, str(value)) for name, value in rows]


def stages(run: dict[str, Any]) -> pd.DataFrame:
    """Duration and peak memory of every stage that ended well."""
    rows = [
        (name, f"{stage['seconds']:,.1f} s", f"{stage['peak_memory_bytes'] / 2**20:,.0f} MiB")
        for name, stage in run["stages"].items()
    ]
    return pd.DataFrame(rows, columns=["Stage", "Duration", "Peak memory"])


def sweep_content(folder: Path, table: pd.DataFrame, warnings: list[str]) -> dict[str, Any]:
    """Everything the template of a sweep shows."""
    columns = run_columns(table)
    return {
        "title": folder.resolve().name,
        "subtitle": status_counts(table),
        "warnings": warnings,
        "figures": [figure(module.TITLE, module.CAPTION, path) for module, path in saved_figures(folder, EVOLUTION_FIGURES)],
        "columns": list(columns),
        "runs": [
            {
                "job": row["job"],
                "link": link(folder, run),
                "status": row["status"],
                "cells": [columns[name][run] for name in columns],
                "note": row["error"] or (row["duplicate_of"] and f"same weights as {row['duplicate_of']}"),
            }
            for run, row in table.iterrows()
        ],
        "commands": list(dict.fromkeys(read_json(run / "run.json")["command"] for run in table.index)),
    }


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


def link(folder: Path, run: Path) -> str | None:
    """The way from a sweep's report to that of one of its runs, or None where the run has none."""
    report = run / "report.html"
    return quote(os.path.relpath(report, folder)) if report.exists() else None
