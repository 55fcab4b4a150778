"""What a run, or a line of runs, says to a claim of the paper: the interval of the claim decides, never a point.

A claim that something is larger than something else comes to differences with intervals. It holds where they lie above 0, does
not hold where they lie below, and is undecided where they include 0, or where there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from lf_experiments.intervals import Effect, holm


class Answer(Enum):
    """The answer to a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    MISSING = "not measured"


ORDER = (Answer.FAILS, Answer.UNDECIDED, Answer.MISSING)
"""Of several claims together, the first of these that one of them has; they hold where none has any."""
NO_INTERVAL = "no interval"
"""Why a claim is undecided in a run that kept nothing to make one of."""


@dataclass(frozen=True)
class Finding:
    """The answer to a claim."""

    answer: Answer
    figures: str
    """The numbers it rests on, or what is missing."""

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds; None where that is not known."""
        return {Answer.HOLDS: True, Answer.FAILS: False}.get(self.answer)


def missing(figures: str) -> Finding:
    """What was not measured."""
    return Finding(Answer.MISSING, figures)


def together(answers: Iterable[Answer]) -> Answer:
    """The answer to several claims at once."""
    found = set(answers)
    return next((answer for answer in ORDER if answer in found), Answer.HOLDS)


def side(effect: Effect | None, level: float) -> Answer:
    """The answer to the claim that an effect is above 0."""
    if effect is None:
        return Answer.UNDECIDED
    low, high = effect.interval(level)
    return Answer.HOLDS if low > 0 else Answer.FAILS if high < 0 else Answer.UNDECIDED


def sides(effects: list[Effect], level: float) -> list[Answer]:
    """The answers to the claims that each of several effects is above 0, judged together (Holm)."""
    p_values = holm([effect.p_value() for effect in effects])
    return [
        Answer.UNDECIDED if math.isnan(p) or p > 1 - level else Answer.HOLDS if effect.value > 0 else Answer.FAILS
        for p, effect in zip(p_values, effects, strict=True)
    ]


def counted(answers: list[Answer], what: str) -> str:
    """How many of several claims hold, and how many do not: `7 of 9 languages above 0, 2 undecided`."""
    others = [
        f"{count} {words}"
        for answer, words in ((Answer.FAILS, "below"), (Answer.UNDECIDED, "undecided"))
        if (count := answers.count(answer))
    ]
    return ", ".join([f"{answers.count(Answer.HOLDS)} of {len(answers)} {what} above 0", *others])


def effect_text(effect: Effect, level: float, text: Callable[[float], str]) -> str:
    """An effect with its interval, as in +0.0121 (+0.0102, +0.0140); without one where there is none."""
    low, high = effect.interval(level)
    return text(effect.value) if math.isnan(low) else f"{text(effect.value)} ({text(low)}, {text(high)})"


signed = "{:+.4f}".format
