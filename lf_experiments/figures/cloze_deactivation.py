"""Story cloze: how often each language's stories are ended rightly, with every neuron and without those of a region."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import PercentFormatter

from lf_experiments.figures import evolution, style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.derived import MATCHED, NOTHING, RANDOM, what_is_off
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import CLOZE

WHOLE, OWN, OTHER = "Full model, with its interval", "Without its own key region", "Without the key region of another language"
RANDOM_NEURONS, MATCHED_NEURONS = "Without random neurons", "Without random neurons that match its region"
LOOKS = {
    WHOLE: {"marker": "o", "color": style.DARK, "markersize": 6, "zorder": 3},
    OWN: {"marker": "D", "color": style.RED, "markersize": 6, "zorder": 3},
    OTHER: {"marker": "o", "color": "#AAAAAA", "markersize": 4, "zorder": 2},
    RANDOM_NEURONS: {"marker": "s", "color": style.BLUE, "markersize": 5, "markerfacecolor": "white", "zorder": 2.5},
    MATCHED_NEURONS: {"marker": "s", "color": style.BLUE, "markersize": 4, "zorder": 2.5},
}
"""What is switched off, in the order in which it stands beside the language, and how it is drawn."""


def draw(run: Run, title: str) -> Picture:
    """A group of points per language of the stories."""
    languages = list(run.cloze["language"].unique())
    width = min(max(5.5, 2 + 0.8 * len(languages)), style.WIDEST)
    figure = style.new_figure(width, 4.6 + style.more_height(len(languages)), title, run.title)
    axes = figure.add_subplot()
    draw_points(axes, run.cloze, languages)
    evolution.draw_chance(axes, CLOZE.chance)
    style.name_ticks(axes.xaxis, list(range(len(languages))), list(map(language_name, languages)), slanted=len(languages) > 6)
    axes.set_xlim(-0.6, len(languages) - 0.4)
    axes.set_xlabel("Language of the stories")
    axes.set_ylabel("Stories ended rightly")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style.clean(axes)
    evolution.add_legend(figure, axes.get_legend_handles_labels()[0], columns=2)
    return figure


def draw_points(axes: Axes, cloze: pd.DataFrame, languages: list[str]) -> None:
    """Every row of the table, a little to the right of its language for each kind that there is."""
    kinds = cloze.assign(deactivated=what_is_off(cloze)).apply(kind_of, axis=1)
    present = [name for name in LOOKS if (kinds == name).any()]
    for number, name in enumerate(present):
        rows = cloze[kinds == name]
        x = rows["language"].map(languages.index) + 0.16 * (number - (len(present) - 1) / 2)
        if name == WHOLE:
            reach = [rows["accuracy"] - rows["lo"], rows["hi"] - rows["accuracy"]] if "lo" in rows else rows["stderr"]
            axes.errorbar(x, rows["accuracy"], reach, linestyle="none", capsize=3, color=style.DARK, linewidth=1)
        axes.plot(x, rows["accuracy"], linestyle="none", label=name, **LOOKS[name])


def kind_of(row: pd.Series) -> str:
    """What is switched off, seen from the language of the story."""
    named = {NOTHING: WHOLE, RANDOM: RANDOM_NEURONS, MATCHED: MATCHED_NEURONS, row["language"]: OWN}
    return named.get(row["deactivated"], OTHER)


FIGURE = Figure(
    number="",
    stem="cloze_deactivation",
    title="Story cloze without a key region",
    caption=(
        "How often the model finds the right one of two English endings likelier, after the beginning of a story in each "
        "language (the paper's cross-lingual task, appendix B). Bars are the interval of the accuracy of the full model (one "
        "standard error to each side in a run that kept no interval). Beside it, the accuracy while neurons are set to zero: "
        "the key neurons of the language of the story, those of each other language, as many random neurons as the largest key "
        "region has, or random ones that match the region of the language. Guessing is right half of the time."
    ),
    needs=("cloze.csv",),
    draw=draw,
)
