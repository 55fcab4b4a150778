"""The verdict of a run or a sweep on each of the paper's observations, with the figures it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.results.figures.figure7_model_scale import family_names, final_runs
from lf_experiments.results.paper.observations import OBSERVATIONS, RUN, SCALE, TRAINING, Claim, Observation
from lf_experiments.results.tables import evolutions, line_names

ANSWERS = {True: "holds", False: "does not hold", None: "not measured"}

NOBODY = {
    RUN: "no run has ended well",
    TRAINING: "needs a sweep over the training steps of a model",
    SCALE: "needs a sweep over models of one family",
}
"""What is missing where there is nothing to ask."""


@dataclass(frozen=True)
class Part:
    """The verdict on one claim."""

    statement: str
    holds: bool | None
    figures: str
    """The numbers it rests on, or what is missing."""
    decides: bool

    @property
    def answer(self) -> str:
        """The verdict in words."""
        return ANSWERS[self.holds]


@dataclass(frozen=True)
class Verdict:
    """The verdict on an observation, claim by claim."""

    observation: Observation
    parts: tuple[Part, ...]

    @property
    def holds(self) -> bool | None:
        """Whether every part that decides holds: False where one does not, else None where one was not measured."""
        return all_hold(part.holds for part in self.parts if part.decides)

    @property
    def answer(self) -> str:
        """The verdict in words."""
        return ANSWERS[self.holds]


def verdicts_of_run(folder: Path) -> list[Verdict]:
    """One verdict per observation from the files of a run; what takes a sweep is not measured."""
    return verdicts({RUN: {"": folder}, TRAINING: {}, SCALE: {}})


def verdicts_of_sweep(table: pd.DataFrame) -> list[Verdict]:
    """One verdict per observation from the table of `sweep_table`, whose index are the folders of the runs.

    What is asked of runs is asked of the last one of every line: its final weights, or its last step.
    """
    return verdicts({RUN: last_runs(table), TRAINING: training_lines(table), SCALE: families(table)})


def last_runs(table: pd.DataFrame) -> dict[str, Path]:
    """{model and variant: the folder of its finished run that was trained longest}"""
    done = table[table["status"] == "done"]
    return {name: runs.index[-1] for name, runs in done.groupby(line_names(done), sort=False)}


def training_lines(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{model and variant: its runs in the order of training}; step 0 is left out, for nothing has been learned there."""
    lines = evolutions(table, "training_step")
    return {name: line[line["training_step"] > 0] for name, line in lines.items()}


def families(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{family of models and variant: its runs with final weights, smallest model first}, of two sizes at least."""
    runs = final_runs(table)
    groups = runs.groupby(family_names(runs), sort=False) if len(runs) else []
    return {name: models for name, models in groups if models["num_parameters"].nunique() > 1}


def verdicts(subjects: dict[str, dict[str, Any]]) -> list[Verdict]:
    """One verdict per observation; `subjects` are the runs and lines there are, by what a claim is asked of and by name."""
    return [
        Verdict(observation, tuple(part for claim in observation.claims if (part := judged(claim, subjects[claim.asked_of]))))
        for observation in OBSERVATIONS
    ]


def judged(claim: Claim, subjects: dict[str, Any]) -> Part | None:
    """The verdict of all that measured what a claim says; None where it is about languages that nobody has."""
    if not subjects:
        return Part(claim.statement, None, NOBODY[claim.asked_of], claim.decides)
    found = {name: finding for name, subject in subjects.items() if (finding := claim.ask(subject))}
    if not found:
        return None
    measured = [finding.holds for finding in found.values() if finding.holds is not None]
    figures = "; ".join(f"{name}: {finding.figures}" if name else finding.figures for name, finding in found.items())
    return Part(claim.statement, all_hold(measured) if measured else None, figures, claim.decides)


def all_hold(answers: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one is, else True."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True
