"""The report of a sweep: its runs side by side, and in full what its main runs wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from lf_experiments.figures.catalogue import SWEEP_FIGURES
from lf_experiments.figures.evolution import AXES
from lf_experiments.figures.save import saved_figures
from lf_experiments.languages import language_name
from lf_experiments.paper.trends import change_text
from lf_experiments.paper.verdicts import verdicts_of_sweep
from lf_experiments.report import found, shared, similarity_map
from lf_experiments.report.facts import Facts, data_facts, facts_of_all
from lf_experiments.report.losses import accuracy_text, notes
from lf_experiments.report.methods import methods
from lf_experiments.report.numbers import column_texts, number_text
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import plain_table
from lf_experiments.report.writing import INTRODUCTION, written
from lf_experiments.runs.families import APPENDIX_C, BODY
from lf_experiments.runs.lines import line_names
from lf_experiments.runs.neighbours import FOLLOWED, SIZE, neighbours
from lf_experiments.runs.paired import level_of
from lf_experiments.runs.run import UNREADABLE, Run
from lf_experiments.runs.scores import CLOZE, SCORES, Score
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import count_text
from lf_experiments.runs.trainings import LAST_LESS_FIRST, over_trainings, shown_scores, trainings

JOBS = Markup(
    "The name of a job leads to its own report, where it has one. The same numbers, and those of every language, are in "
    "<code>sweep.csv</code>."
)
TRAININGS = (
    "The same model, trained several times with another seed: the mean of the trainings and, in brackets, its interval over "
    "them (Student's t). Intervals elsewhere are over sentences, for the one training that was read; only this one tells what "
    "another training would give."
)
ALONG = {**AXES, SIZE: "Parameters"}
"""What the points of a curve are named by."""
NEIGHBOURS = Markup(
    "How much every score changes from one point of a curve to the next. In brackets is the interval of the change: paired, "
    "meaning by meaning, where both points read the same sentences, which makes it far narrower than those of the two scores. "
    "Changes that differ from 0 are bold, judged together with all others of the same curve (Holm). The same is in "
    "<code>neighbours.csv</code>."
)
STORIES = (
    "How often the full model finds the right one of two English endings likelier, after a story in each language; the mean ± "
    "one standard error in points. Guessing is right half of the time."
)


def sections_of_sweep(sweep: Sweep, folder: Path, warnings: list[str]) -> list[Section]:
    """The sections of the page, in their order; its figures are in `folder`."""
    main_runs = [run for part in (BODY, APPENDIX_C) if (run := sweep.of(part).main_run)]
    verdicts, figures = verdicts_of_sweep(sweep), saved_figures(folder, SWEEP_FIGURES)
    sections = [
        shared.warnings_section(warnings),
        found.at_a_glance(found.what_was_swept(sweep), verdicts, figures),
        section("run", "What was run", blocks.words(facts(sweep).items())),
        shared.observations(verdicts),
        similarity_map.explorer_of_sweep(sweep),
        shared.gallery(figures),
        methods(sweep),
        jobs(sweep.table, folder, main_runs),
        shared.beside_paper(list(sweep.table.index[sweep.table["status"] == "done"])),
        from_point_to_point(sweep),
        between_trainings(sweep),
        story_cloze(sweep.table),
        generated_text(main_runs),
        section(
            "repeat", "To repeat it", blocks.code("\n".join(dict.fromkeys(record["command"] for record in records(sweep))))
        ),
    ]
    return [part for part in sections if part]


def records(sweep: Sweep) -> list[dict]:
    """The records of the runs that can be read."""
    return [run.record for run in sweep.table.index[sweep.table["status"] != UNREADABLE]]


def facts(sweep: Sweep) -> Facts:
    """What was run: all models and checkpoints, and what else the runs have in common or differ in."""
    started = sorted(record["started"] for record in records(sweep))
    return {
        "Models": ", ".join(filter(None, sweep.table["model"].unique())),
        "Checkpoints": ", ".join(filter(None, sweep.table["checkpoint"].unique())),
        **facts_of_all([data_facts(record) for record in records(sweep)]),
        "Started": " to ".join(dict.fromkeys((*started[:1], *started[-1:]))),
    }


def jobs(table: pd.DataFrame, folder: Path, main_runs: list[Run]) -> Section | None:
    """One row per run, with the way to its own report and what is wrong with it; then the notes on the main runs."""
    columns = run_columns(table)
    rows = [
        {
            "name": row["job"],
            "link": link(folder, run.folder),
            "status": row["status"],
            "cells": cells,
            "note": row["error"] or (row["duplicate_of"] and f"same weights as {row['duplicate_of']}"),
        }
        for (run, row), cells in zip(table.iterrows(), zip(*columns.values(), strict=True), strict=True)
    ]
    found = [(run.title, lines) for run in main_runs if (lines := notes(run))]
    of_main_runs = [block for title, lines in found for block in (blocks.heading(title), blocks.listing(lines, "notes"))]
    return section("runs", "Runs", blocks.jobs(["Job", "Status", *columns], rows), blocks.soft(JOBS), *of_main_runs)


def run_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    """What a sweep table says of each run, as text; columns in which no run has anything are left out.

    Scores that are counts are left out: between models only their shares compare.
    """
    scores = [score for score in SCORES if not score.is_count]
    columns = {
        "Model": texts(table["model"], str),
        "Variant": texts(table["variant"], str),
        "Checkpoint": texts(table["checkpoint"], str),
        "Step": texts(table["training_step"], "{:,}".format),
        **{score.title + ", mean" * score.by_language: column_texts(table, score, score.column) for score in scores},
        "Tokens": texts(table["training_tokens"], count_text),
        "Parameters": texts(table["num_parameters"], "{:,}".format),
    }
    return {title: column for title, column in columns.items() if set(column) != {"–"}}


def texts(values: pd.Series, form: Callable[..., str]) -> list[str]:
    """Values as text, a dash where one is missing."""
    return ["–" if pd.isna(value) or value == "" else form(value) for value in values]


def link(folder: Path, run: Path) -> str | None:
    """The way from a sweep's report to that of one of its runs, or None where the run has none."""
    report = run / "report.html"
    return quote(os.path.relpath(report, folder)) if report.exists() else None


def from_point_to_point(sweep: Sweep) -> Section | None:
    """How much every score changes between the neighbours of each curve, over training and over model sizes."""
    table = neighbours(sweep)
    if table.empty:
        return None
    shown, level = [], level_of(next(iter(sweep.last_runs.values())))
    for (curve, along), rows in table.groupby(["curve", "along"], sort=False):
        steps = rows[["from", "to"]].drop_duplicates().sort_values(["from", "to"]).itertuples(index=False)
        changes = {(row["score"], row["from"], row["to"]): row for _, row in rows.iterrows()}
        names = {(start, end): f"{count_text(start)} to {count_text(end)}" for start, end in steps}
        columns = {
            score.title: [change_cell(score, changes.get((score.key, *ends)), level) for ends in names]
            for score in FOLLOWED
            if score.key in set(rows["score"])
        }
        text = plain_table(pd.DataFrame({ALONG[along]: list(names.values()), **columns}, dtype=object))
        shown += [blocks.heading(curve), blocks.table(text)]
    return section("neighbours", "From point to point", blocks.soft(NEIGHBOURS), *shown)


def change_cell(score: Score, row: pd.Series | None, level: float) -> str:
    """A change with its interval, in bold where it differs from 0; a dash where it was not measured."""
    if row is None:
        return "–"
    text = number_text(replace(score, text=change_text(score)), row["difference"], (row["lo"], row["hi"]))
    return Markup("<b>{}</b>").format(text) if row["p_holm"] <= 1 - level else text


def between_trainings(sweep: Sweep) -> Section | None:
    """The mean over trainings that differ in their seed alone, step by step, with its interval."""
    found = trainings(sweep)
    shown = []
    for name, lines in found.items():
        table = over_trainings(lines)
        steps = [step if step == LAST_LESS_FIRST else f"{step:,}" for step in table["training_step"]]
        columns = {score.title: column_texts(table, score, score.column) for score in shown_scores(lines)}
        text = plain_table(pd.DataFrame({"Step": steps, **columns}), foot=1)
        shown += [blocks.heading(f"{name}, {len(lines)} trainings"), blocks.table(text)]
    return section("trainings", "Between trainings", blocks.soft(TRAININGS), *shown) if shown else None


def story_cloze(table: pd.DataFrame) -> Section | None:
    """The accuracy of every run in the story cloze, mean and language by language."""
    told = table[table[CLOZE.column].notna() & (table["status"] == "done")]
    if told.empty:
        return None
    languages = dict.fromkeys(code for run in told.index for code in run.metrics[CLOZE.key])
    columns = {
        "Model": line_names(told),
        "Checkpoint": told["checkpoint"],
        "Mean": map(accuracy_text, told[CLOZE.column], told["cloze_stderr"]),
        **{language_name(code): texts(told[f"{CLOZE.key}_{code}"], CLOZE.text) for code in languages},
    }
    text = plain_table(pd.DataFrame({name: list(values) for name, values in columns.items()}))
    return section("cloze", "Story cloze", blocks.soft(STORIES), blocks.table(text))


def generated_text(main_runs: list[Run]) -> Section | None:
    """What the main runs wrote."""
    found = [(run.title, texts) for run in main_runs if (texts := written(run))]
    shown = [block for title, texts in found for block in (blocks.heading(title), *texts)]
    return section("text", "Generated text", blocks.soft(INTRODUCTION), *shown) if shown else None
