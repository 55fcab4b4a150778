"""What the report of a run shows: None or empty where its folder has nothing to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lf_experiments.results.figures import saved_figures
from lf_experiments.results.paper.verdicts import verdicts_of_run
from lf_experiments.results.report import sections
from lf_experiments.results.report.facts import further_facts, main_facts, stages
from lf_experiments.results.report.page import picture
from lf_experiments.results.tables import checkpoint_text, perplexity_text, read_json, share_text


def run_content(folder: Path) -> dict[str, Any]:
    """Everything the template of a run shows."""
    run = read_json(folder / "run.json") if (folder / "run.json").exists() else None
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else None
    return {
        "title": metrics["model"] if metrics else folder.name,
        "checkpoint": checkpoint_text(metrics) if metrics else None,
        "run": run,
        "facts": main_facts(run, metrics) if run else {},
        "further_facts": further_facts(run) if run else {},
        "stages": stages(run) if run else None,
        "config": json.dumps(run["config"], indent=2, ensure_ascii=False) if run else None,
        "notes": sections.notes(folder),
        "observations": sections.observations(verdicts_of_run(folder)) if metrics else [],
        "scores": scores(metrics) if metrics else [],
        "figures": [picture(module, path) for module, path in saved_figures(folder)],
        "beside_paper": sections.beside_paper(folder),
        "deactivation": sections.deactivation(folder),
        "baseline": sections.baseline(folder),
        "cloze": sections.cloze(folder),
        "generations": sections.generations(folder),
        "layers": sections.layers(folder),
        "sentences": sections.sentences(folder),
    }


def scores(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The main numbers: name, value and meaning. What was not measured is left out."""
    rows = [
        ("LRDS", metrics["lrds"], "{:.4f}".format, "tells languages apart; lower is more language-agnostic (eq. 8)"),
        (
            "SADS",
            metrics["sads"],
            "{:.4f}".format,
            "brings meanings together across languages; higher is more semantic (eq. 9)",
        ),
        ("SKLR", metrics["sklr"], "{:,}".format, "key neurons of all languages together (sec. 3.2)"),
        ("SKLR, share", metrics["sklr_fraction"], share_text, "of all neurons"),
        ("Perplexity", mean(metrics["perplexity"]), perplexity_text, "of the full model, mean over languages"),
        (
            "Story cloze",
            mean(metrics["cloze_accuracy"]),
            share_text,
            "stories ended rightly by the full model, mean over languages; guessing: 50%",
        ),
    ]
    return [(name, form(value), meaning) for name, value, form, meaning in rows if value is not None]


def mean(of_languages: dict[str, float]) -> float | None:
    """The mean over the languages, None where there is none."""
    return sum(of_languages.values()) / len(of_languages) if of_languages else None
