"""Table 1: what switching off each key region costs in perplexity, as a heat map and as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import StrMethodFormatter

from lf_experiments.languages import language_name
from lf_experiments.results.figures import style
from lf_experiments.results.tables import increase_text, perplexity_text, read_table, region_sizes, share_text

NEEDS = ("perplexity.csv", "regions.csv")
TITLE = "Perplexity increase after deactivation (%)"
CAPTION = (
    "How much the perplexity of each language (rows; that of the full model in brackets) rises, in percent, when the key "
    "neurons of one language (columns) are set to zero (the paper's Table 1; key neurons by eq. 12). A last column of random "
    "neurons switches off as many as the largest key region has, drawn from the whole model."
)

NOTHING = "none"
RANDOM = "random"
FULL_MODEL = "Full model"
KEY_NEURONS = "Key neurons"
KEY_NEURONS_SHARE = "Key neurons, % of all"
LINEAR_BELOW = 10
"""Percent below which the colour scale is linear; above, it is logarithmic, so that one large value leaves the rest apart."""
TICKS = (0, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000, 1_000_000)


def increases(perplexity: pd.DataFrame) -> pd.DataFrame:
    """The increase in percent: evaluated languages as rows; deactivated languages and `random`, mean over draws, as columns."""
    deactivated = perplexity[perplexity["deactivated"] != NOTHING]
    table = deactivated.pivot_table(
        values="increase_percent", index="language", columns="deactivated", aggfunc="mean", sort=False, dropna=False
    )
    return table[sorted(table, key=RANDOM.__eq__)]


def full_model(perplexity: pd.DataFrame) -> pd.Series:
    """The perplexity of every language before anything is deactivated."""
    return perplexity[perplexity["deactivated"] == NOTHING].set_index("language")["perplexity"]


def draw(folder: Path, title: str = TITLE) -> Figure:
    """The heat map: one cell per pair of evaluated and deactivated language, with its number."""
    perplexity = read_table(folder / "perplexity.csv")
    table, before = increases(perplexity), full_model(perplexity)
    rows = [f"{language_name(code)} ({perplexity_text(before[code])})" for code in table.index]
    columns = ["Random neurons" if code == RANDOM else language_name(code) for code in table.columns]

    figure = style.new_figure(3.4 + 0.66 * len(columns), max(4.0, 2.4 + 0.42 * len(rows)))
    style.add_title(figure, folder, title)
    axes = figure.add_subplot()
    norm = scale(table)
    colours = colormaps["YlGnBu"].with_extremes(bad="#EEEEEE")
    image = axes.imshow(table.clip(upper=norm.vmax), cmap=colours, norm=norm, aspect="auto")
    write_numbers(axes, image, table)
    style.name_ticks(axes.xaxis, list(range(len(columns))), columns, slanted=True)
    style.name_ticks(axes.yaxis, list(range(len(rows))), rows)
    axes.set_xlabel("Deactivated key region")
    axes.set_ylabel("Evaluated language (perplexity)")
    axes.spines[:].set_visible(False)
    if RANDOM in table:
        axes.axvline(len(columns) - 1.5, color="white", linewidth=5)
    add_colour_bar(figure, axes, image)
    return figure


def scale(table: pd.DataFrame) -> SymLogNorm:
    """The colour scale from 0, or the largest decrease, to the largest finite increase."""
    finite = table.to_numpy()[np.isfinite(table.to_numpy())]
    return SymLogNorm(LINEAR_BELOW, vmin=min(0, *finite), vmax=max(LINEAR_BELOW, *finite))


def write_numbers(axes: Axes, image: AxesImage, table: pd.DataFrame) -> None:
    """Every number into its cell, dark on light colours and white on dark ones."""
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        red, green, blue, _ = image.cmap(image.norm(min(value, image.norm.vmax)))
        ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else style.DARK
        axes.text(column, row, increase_text(value), color=ink, fontsize=9, ha="center", va="center")


def add_colour_bar(figure: Figure, axes: Axes, image: AxesImage) -> None:
    """The colour bar, with round numbers beside it."""
    bar = figure.colorbar(image, ax=axes, label="Perplexity increase (%)", fraction=0.05, pad=0.02)
    bar.set_ticks([tick for tick in TICKS if tick <= image.norm.vmax])
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def wide_table(folder: Path) -> pd.DataFrame:
    """The paper's Table 1, as numbers: perplexities, increases in percent, and the size of every region.

    Rows are the evaluated languages and two rows on the regions; columns are the full model, the random neurons (as many as
    the largest region has; mean over draws) and the deactivated languages.
    """
    perplexity = read_table(folder / "perplexity.csv")
    sizes = region_sizes(read_table(folder / "regions.csv"))
    table, before = increases(perplexity), full_model(perplexity)
    sizes.loc[RANDOM] = sizes.max()
    shares = sizes["key_neurons"] / sizes["neurons"]

    columns = {FULL_MODEL: [*before[table.index], None, None]}
    for code in sorted(table, key=RANDOM.__ne__):
        name = f"Random {share_text(shares[code])}" if code == RANDOM else f"× {language_name(code)}"
        columns[name] = [*table[code], int(sizes.loc[code, "key_neurons"]), 100 * float(shares[code])]
    index = [*map(language_name, table.index), KEY_NEURONS, KEY_NEURONS_SHARE]
    return pd.DataFrame(columns, index=pd.Index(index, name="Language"), dtype=object)


def wide_text(folder: Path) -> pd.DataFrame:
    """`wide_table` as text to read: increases and shares with the sign of percent."""
    table = wide_table(folder)
    text = pd.DataFrame("", index=table.index, columns=table.columns)
    languages = table.index[:-2]
    text.loc[languages] = table.loc[languages].map(lambda increase: f"{increase_text(increase)}%")
    text.loc[languages, FULL_MODEL] = table.loc[languages, FULL_MODEL].map(perplexity_text)
    regions = table.columns[1:]
    text.loc[KEY_NEURONS, regions] = table.loc[KEY_NEURONS, regions].map("{:,}".format)
    text.loc[KEY_NEURONS_SHARE, regions] = table.loc[KEY_NEURONS_SHARE, regions].map(lambda percent: share_text(percent / 100))
    return text
