"""What was found, in one screen, for a reader who knows neither the paper nor its field; every line leads to its picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lf_experiments.figures.figure import Figure
from lf_experiments.paper.finding import Answer
from lf_experiments.paper.verdicts import Part, Verdict
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep

TITLES = {Answer.HOLDS: "Holds", Answer.FAILS: "Does not hold", Answer.UNDECIDED: "Undecided"}
"""The answers that are shown, in their order."""
HOW_TO_READ = (
    "A neuron is a number that the model computes at every word; the neurons of a language are those that are much more active "
    "in it than in the others. The answers below follow from intervals: undecided means that other sentences could turn them. "
    "Each line leads to its picture."
)
ELSEWHERE = (
    "Not measured here: {} other statements. Those about training, or about the size of models, take several runs (a sweep)."
)
CLAIMS = "observations"
"""The section with all claims, where a line leads whose picture is not there."""


@dataclass(frozen=True)
class Line:
    """A statement in plain words, and the element of the page that shows it."""

    text: str
    link: str


@dataclass(frozen=True)
class Group:
    """The statements with the same answer."""

    answer: str
    title: str
    lines: list[Line]


def at_a_glance(done: str, verdicts: list[Verdict], figures: list[tuple[Figure, Path]]) -> Section | None:
    """Every claim that was measured under its answer; `done` says what was done, `figures` are those of the page."""
    parts = [part for verdict in verdicts for part in verdict.parts]
    stems = {figure.stem for figure, _ in figures}
    groups = [
        Group(answer.value, title, [line(part, stems) for part in parts if part.found is answer])
        for answer, title in TITLES.items()
    ]
    groups = [group for group in groups if group.lines]
    if not groups:
        return None
    missing = sum(part.found is Answer.MISSING for part in parts)
    others = [blocks.soft(ELSEWHERE.format(missing))] if missing else []
    return section("found", "What was found", blocks.lead(f"{done} {HOW_TO_READ}"), blocks.answers(groups), *others)


def line(part: Part, stems: set[str]) -> Line:
    """A claim in short, and the first of its figures that is there."""
    shown = next((f"figure-{stem}" for stem in part.claim.shown_in if stem in stems), CLAIMS)
    return Line(part.claim.in_short, shown)


def what_was_done(run: Run) -> str:
    """What a run did, in a sentence."""
    if run.metrics is None:
        return ""
    metrics = run.metrics
    neurons = f" each of its {metrics.num_neurons:,} neurons" if metrics.num_neurons else " its neurons"
    return (
        f"The language model {metrics.model} read the same {metrics.sentences_per_language:,} sentences in "
        f"{len(metrics.languages)} languages, and what{neurons} did was recorded."
    )


def what_was_swept(sweep: Sweep) -> str:
    """What a sweep did, in a sentence."""
    done = sweep.table[sweep.table["status"] == "done"]
    models, steps = done["model"].nunique(), done["checkpoint"].nunique()
    read = f"{models} language model{'s' * (models > 1)}" + (f", at up to {steps} moments of training," if steps > 1 else "")
    return f"{read} read the same sentences in several languages, and what the neurons did was recorded."
