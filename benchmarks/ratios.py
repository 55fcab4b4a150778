"""Timing two ways of doing the same thing turn by turn, so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """How many times as long `slow` takes as `fast`, over several rounds."""

    name: str
    aim: str
    rounds: list[float]
    detail: str

    @property
    def row(self) -> list[str]:
        """The row of the table of ratios."""
        values = (min(self.rounds), median(self.rounds), max(self.rounds))
        return [self.name, *(f"{value:.2f}" for value in values), self.aim, self.detail]


HEADER = ["what", "min", "median", "max", "aim", "detail"]


def time_ratio(
    name: str, aim: str, above: Callable[[], object], below: Callable[[], object], rounds: int, detail: str = ""
) -> Ratio:
    """Time of `above` over time of `below`, round by round after one of each to warm up."""
    above(), below()
    seconds = [(seconds_of(above), seconds_of(below)) for _ in range(rounds)]
    typical = f"{median(s[0] for s in seconds):.3g} s against {median(s[1] for s in seconds):.3g} s"
    return Ratio(name, aim, [first / second for first, second in seconds], f"{typical}{'; ' + detail if detail else ''}")


def seconds_of(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
