"""Figure 6 over training: how large the key region of each language is at each step."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lf_experiments.languages import language_name
from lf_experiments.results.figures import evolution, style
from lf_experiments.results.tables import evolutions, read_table, region_sizes

TITLE = "Key neurons by language over training"
CAPTION = (
    "How many neurons are key for each language at each step of training (the paper's Figure 6). The sum over languages is "
    "SKLR. The time axis begins at 0 and is logarithmic from the first step on; a gap is a run that failed or is missing."
)


def can_draw(table: pd.DataFrame, x: str = "training_step") -> bool:
    """Whether the regions of a model were probed at two steps."""
    return any(evolution.probed(line)[x].nunique() > 1 for line in evolutions(table, x).values())


def draw(table: pd.DataFrame, x: str = "training_step") -> Figure:
    """One panel per model, one line per language in its fixed colour."""
    lines = {name: line for name, line in evolutions(table, x).items() if evolution.probed(line)[x].nunique() > 1}
    return evolution.draw_lines(TITLE, lines, x, draw_panel, height=4.4)


def draw_panel(axes: Axes, line: pd.DataFrame, x: str) -> None:
    """The size of every region over training."""
    sizes = key_neurons(line)
    colours = style.language_colours(list(sizes))
    for code in sizes:
        evolution.plot(
            axes,
            evolution.numbers(line[x]),
            evolution.numbers(sizes[code]),
            line["duplicated"].to_numpy(),
            size=4.5,
            color=colours[code],
            label=language_name(code),
        )
    axes.set_ylabel("Key neurons")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    style.clean(axes)
    evolution.training_axis(axes, line[x], x)
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)


def key_neurons(line: pd.DataFrame) -> pd.DataFrame:
    """The size of every language's key region (columns) in every run (rows); empty where a run has no regions."""
    sizes = {folder: region_sizes(read_table(folder / "regions.csv"))["key_neurons"] for folder in evolution.probed(line).index}
    return pd.DataFrame(sizes).T.reindex(line.index)
