"""The report of a run: one HTML page that opens anywhere, without a network, from whatever the run folder holds."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from lf_experiments.languages import language_name
from lf_experiments.results.figures import can_be_drawn, saved_figures, table1_deactivation
from lf_experiments.results.tables import (
    checkpoint_text,
    perplexity_text,
    read_json,
    read_table,
    share_text,
)
from lf_experiments.storage import write_text

TEMPLATE = Path(__file__).with_name("report.html.jinja")
COMMIT_DIGITS = 12


def write_report(folder: Path) -> None:
    """Write `report.html`. A section whose files are not there is left out."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text(folder / "report.html", template.render(content(folder)))


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


def score_text(score: float) -> str:
    """A score with four decimals, or a dash where a layer has none."""
    return "–" if pd.isna(score) else f"{score:.4f}"


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
