"""A figure is a value: what it is called, what it says, what it is drawn from, and the function that draws it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure as Picture
from matplotlib.text import Text

from lf_experiments.figures.drawable import families_for, font_families
from lf_experiments.runs.families import BODY
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep

Subject = TypeVar("Subject", Run, Sweep)


@dataclass(frozen=True)
class Figure(Generic[Subject]):
    """A figure or table of the paper, or one of ours, of a run or of a sweep."""

    number: str
    """As in the paper, `Figure 3`; empty for one that the paper has not."""
    stem: str
    """The name of its files in `figures/`."""
    title: str
    caption: str
    draw: Callable[[Subject, str], Picture]
    """From the subject and the title to the picture; call `picture`, which sets the fonts."""
    needs: tuple[str, ...] = ()
    """The files of a run that it is drawn from."""
    enough: Callable[[Sweep], bool] | None = None
    """Whether a sweep has enough to draw; None for a figure of one run."""
    part: str = BODY
    """Which models of a sweep it is about: `whole`, `body` or `appendix C` (`runs.families`)."""
    wide_table: Callable[[Run], pd.DataFrame] | None = None
    """Of a table: its numbers, written as CSV."""
    wide_text: Callable[[Run], pd.DataFrame] | None = None
    """Of a table: its cells as text, written as Markdown."""

    def can_draw(self, subject: Any) -> bool:
        """Whether there is enough to draw."""
        return self.enough(subject) if self.enough else subject.has(*self.needs)

    def subject_in(self, sweep: Sweep) -> Run | Sweep | None:
        """What of a sweep the figure shows: its part of the runs, or their main run; None where that is not enough."""
        runs = sweep.of(self.part)
        subject = runs if self.enough else runs.main_run
        return subject if subject is not None and self.can_draw(subject) else None

    def picture(self, subject: Subject) -> Picture:
        """The figure of a run or a sweep."""
        with drawn_alike():
            picture = self.draw(subject, self.title)
        narrow_fonts(picture)
        return picture


def drawn_alike() -> AbstractContextManager[None]:
    """How matplotlib draws inside: no text is a formula, whatever dollar signs a name has; other fonts draw what the first
    lacks; and letters are as wide as they were measured, at any resolution.
    """
    return rc_context({"text.parse_math": False, "font.family": font_families(), "text.hinting": "no_hinting"})


def narrow_fonts(picture: Picture) -> None:
    """Leave each text the fonts that draw it: matplotlib looks up every font of a text whenever it measures it, and a picture
    of many numbers would take twice as long.
    """
    for axes in picture.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels(which="both")  # they are written only when asked for
    for text in picture.findobj(Text):
        if text.get_text():
            text.set_fontfamily(families_for(text.get_text()))
