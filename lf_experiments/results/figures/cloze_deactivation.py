"""Story cloze: how often each language's stories are ended rightly, with every neuron and without those of a region."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lf_experiments.languages import language_name
from lf_experiments.results.figures import evolution, style
from lf_experiments.results.figures.table1_deactivation import NOTHING, RANDOM
from lf_experiments.results.tables import read_table

NEEDS = ("cloze.csv",)
TITLE = "Story cloze without a key region"
CAPTION = (
    "How often the model finds the right one of two English endings likelier, after the beginning of a story in each "
    "language (the paper's cross-lingual task, appendix B). Bars are one standard error of the accuracy of the full "
    "model to each side. Beside it, the accuracy while key neurons are set to zero: those of the language of the story, those "
    "of each other language, or as many random neurons as the largest key region has. Guessing is right half of the time."
)

WHOLE, OWN, OTHER = "Full model (± standard error)", "Without its own key region", "Without the key region of another language"
RANDOM_NEURONS = "Without random neurons"
LOOKS = {
    WHOLE: {"marker": "o", "color": style.DARK, "markersize": 6, "zorder": 3},
    OWN: {"marker": "D", "color": style.RED, "markersize": 6, "zorder": 3},
    OTHER: {"marker": "o", "color": "#AAAAAA", "markersize": 4, "zorder": 2},
    RANDOM_NEURONS: {"marker": "s", "color": style.BLUE, "markersize": 5, "markerfacecolor": "white", "zorder": 2.5},
}
"""What is switched off, in the order in which it stands beside the language, and how it is drawn."""


def draw(folder: Path, title: str = TITLE) -> Figure:
    """A group of points per language of the stories."""
    cloze = read_table(folder / "cloze.csv")
    languages = list(cloze["language"].unique())
    figure = style.new_figure(max(5.5, 2 + 0.8 * len(languages)), 4.6)
    style.add_title(figure, folder, title)
    axes = figure.add_subplot()
    draw_points(axes, cloze, languages)
    evolution.draw_chance(axes)
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
    kinds = cloze.apply(kind_of, axis=1)
    present = [name for name in LOOKS if (kinds == name).any()]
    for number, name in enumerate(present):
        rows = cloze[kinds == name]
        x = rows["language"].map(languages.index) + 0.16 * (number - (len(present) - 1) / 2)
        if name == WHOLE:
            axes.errorbar(x, rows["accuracy"], rows["stderr"], linestyle="none", capsize=3, color=style.DARK, linewidth=1)
        axes.plot(x, rows["accuracy"], linestyle="none", label=name, **LOOKS[name])


def kind_of(row: pd.Series) -> str:
    """What is switched off, seen from the language of the story."""
    return {NOTHING: WHOLE, RANDOM: RANDOM_NEURONS, row["language"]: OWN}.get(row["deactivated"], OTHER)
