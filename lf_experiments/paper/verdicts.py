"""The verdict of a run or a sweep on each of the paper's observations, with the figures it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lf_experiments.paper.finding import Answer, together
from lf_experiments.paper.observations import OBSERVATIONS, RUN, SCALE, TRAINING, Claim, Observation
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep

Subjects = dict[str, Run] | dict[str, pd.DataFrame]
"""Runs or lines by name."""

NOBODY = {
    RUN: "no run has ended well",
    TRAINING: "needs a sweep over the training steps of a model",
    SCALE: "needs a sweep over models of one family",
}
"""What is missing where there is nothing to ask."""


@dataclass(frozen=True)
class Part:
    """The verdict on one claim."""

    claim: Claim
    found: Answer
    figures: dict[str, str]
    """{run or line: the numbers it rests on, or what is missing}; the name is empty for the one run that was asked."""

    @property
    def statement(self) -> str:
        """The claim with its rule, in words."""
        return self.claim.statement

    @property
    def decides(self) -> bool:
        """Whether the observation rests on it."""
        return self.claim.decides

    @property
    def text(self) -> str:
        """The figures of all, with the names of those that have one."""
        return "; ".join(f"{name}: {figures}" if name else figures for name, figures in self.figures.items())

    @property
    def answer(self) -> str:
        """The verdict in words."""
        return self.found.value


@dataclass(frozen=True)
class Verdict:
    """The verdict on an observation, claim by claim."""

    observation: Observation
    parts: tuple[Part, ...]

    @property
    def found(self) -> Answer:
        """The answer to every part that decides, together (`finding.together`)."""
        return together(part.found for part in self.parts if part.decides)

    @property
    def answer(self) -> str:
        """The verdict in words."""
        return self.found.value

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to read in it."""
        return self.found is not Answer.MISSING


def verdicts_of_run(run: Run) -> list[Verdict]:
    """One verdict per observation on a run; what takes a sweep is not measured."""
    return verdicts({RUN: {"": run}, TRAINING: {}, SCALE: {}})


def verdicts_of_sweep(sweep: Sweep) -> list[Verdict]:
    """One verdict per observation on a sweep.

    What is asked of runs is asked of the last one of every line: its final weights, or its last step.
    """
    return verdicts({RUN: sweep.last_runs, TRAINING: training_lines(sweep), SCALE: scale_lines(sweep)})


def training_lines(sweep: Sweep) -> dict[str, pd.DataFrame]:
    """{model and variant: its runs in the order of training}; step 0 is left out, for nothing has been learned there."""
    return {name: line[line["training_step"] > 0] for name, line in sweep.lines("training_step").items()}


def scale_lines(sweep: Sweep) -> dict[str, pd.DataFrame]:
    """{family of models and variant: its runs with final weights, smallest model first}, of two sizes at least."""
    return {name: models for name, models in sweep.families.items() if models["num_parameters"].nunique() > 1}


def verdicts(subjects: dict[str, Subjects]) -> list[Verdict]:
    """One verdict per observation; `subjects` are the runs and lines there are, by what a claim is asked of and by name."""
    return [
        Verdict(observation, tuple(part for claim in observation.claims if (part := judged(claim, subjects[claim.asked_of]))))
        for observation in OBSERVATIONS
    ]


def judged(claim: Claim, subjects: Subjects) -> Part | None:
    """The verdict of all that measured what a claim says; None if no run has the languages the claim is about."""
    if not subjects:
        return Part(claim, Answer.MISSING, {"": NOBODY[claim.asked_of]})
    found = {name: finding for name, subject in subjects.items() if (finding := claim.ask(subject))}
    if not found:
        return None
    measured = [finding.answer for finding in found.values() if finding.answer is not Answer.MISSING]
    figures = {name: finding.figures for name, finding in found.items()}
    return Part(claim, together(measured) if measured else Answer.MISSING, figures)
