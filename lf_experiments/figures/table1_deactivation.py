"""Table 1: what switching off each key region costs in perplexity, as a heat map and as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure as Picture
from matplotlib.image import AxesImage
from matplotlib.ticker import StrMethodFormatter

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.derived import (
    CONTROLS,
    MATCHED,
    RANDOM,
    full_model,
    increase_intervals,
    increases,
    region_sizes,
)
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import increase_text, perplexity_text, share_text

FULL_MODEL = "Full model"
CONTROL_NAMES = {RANDOM: "Random neurons", MATCHED: "Matched random"}
KEY_NEURONS = "Key neurons"
KEY_NEURONS_SHARE = "Key neurons, % of all"
LINEAR_BELOW = 10
"""Percent below which the colour scale is linear; above, it is logarithmic, so that one large value leaves the rest apart."""
TICKS = (0, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000, 1_000_000)


def draw(run: Run, title: str) -> Picture:
    """The heat map: one cell per pair of evaluated and deactivated language, with its number."""
    table, before = increases(run.perplexity), full_model(run.perplexity)
    rows = [f"{language_name(code)} ({perplexity_text(before[code])})" for code in table.index]
    columns = [CONTROL_NAMES.get(code) or language_name(code) for code in table.columns]

    figure = style.new_figure(3.4 + 0.66 * len(columns), max(4.0, 2.4 + 0.42 * len(rows)), title, run.title)
    axes = figure.add_subplot()
    norm = scale(table)
    colours = colormaps["YlGnBu"].with_extremes(bad="#EEEEEE")
    image = axes.imshow(table.clip(upper=norm.vmax), cmap=colours, norm=norm, aspect="auto")
    style.write_cells(axes, image, table.to_numpy(), increase_text, undecided=undecided(run.perplexity, table))
    style.name_ticks(axes.xaxis, list(range(len(columns))), columns, slanted=True)
    style.name_ticks(axes.yaxis, list(range(len(rows))), rows)
    axes.set_xlabel("Deactivated key region")
    axes.set_ylabel("Evaluated language (perplexity)")
    axes.spines[:].set_visible(False)
    controls = sum(code in table for code in CONTROLS)
    if controls:
        axes.axvline(len(columns) - controls - 0.5, color="white", linewidth=5)
    add_colour_bar(figure, axes, image)
    return figure


def undecided(perplexity: pd.DataFrame, table: pd.DataFrame) -> np.ndarray:
    """Which cells have an interval that includes no change at all."""
    ends = increase_intervals(perplexity)
    if ends is None:
        return np.zeros(table.shape, bool)
    low, high = (end.reindex(index=table.index, columns=table.columns) for end in ends)
    return ((low <= 0) & (high >= 0)).to_numpy()


def scale(table: pd.DataFrame) -> SymLogNorm:
    """The colour scale from 0, or the largest decrease, to the largest finite increase."""
    finite = table.to_numpy()[np.isfinite(table.to_numpy())]
    return SymLogNorm(LINEAR_BELOW, vmin=min([0, *finite]), vmax=max([LINEAR_BELOW, *finite]))


def add_colour_bar(figure: Picture, axes: Axes, image: AxesImage) -> None:
    """The colour bar, with round numbers beside it."""
    bar = figure.colorbar(image, ax=axes, label="Perplexity increase (%)", fraction=0.05, pad=0.02)
    bar.set_ticks([tick for tick in TICKS if tick <= image.norm.vmax])
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def wide_table(run: Run) -> pd.DataFrame:
    """The paper's Table 1, as numbers: perplexities, increases in percent, and the size of every region.

    Rows are the evaluated languages and two rows on the regions; columns are the full model, the random neurons (the paper's,
    as many as the largest region has, and those that match the region of the row; means over draws) and the deactivated
    languages.
    """
    sizes = region_sizes(run.regions)
    table, before = increases(run.perplexity), full_model(run.perplexity)
    sizes.loc[RANDOM] = sizes.max()
    shares = sizes["key_neurons"] / sizes["neurons"]

    columns = {FULL_MODEL: [*before[table.index], None, None]}
    for code in sorted(table, key=lambda code: code not in CONTROLS):
        if code == MATCHED:
            columns[CONTROL_NAMES[MATCHED]] = [*table[code], None, None]
            continue
        name = f"Random {share_text(shares[code])}" if code == RANDOM else f"× {language_name(code)}"
        columns[name] = [*table[code], int(sizes.loc[code, "key_neurons"]), 100 * float(shares[code])]
    index = [*map(language_name, table.index), KEY_NEURONS, KEY_NEURONS_SHARE]
    return pd.DataFrame(columns, index=pd.Index(index, name="Language"), dtype=object)


def wide_text(run: Run) -> pd.DataFrame:
    """`wide_table` as text to read: increases, with their intervals where there are any, and shares in percent."""
    table = wide_table(run)
    text = pd.DataFrame("", index=table.index, columns=table.columns)
    languages, regions = table.index[:-2], table.columns[1:]
    text.loc[languages] = table.loc[languages].map(lambda increase: increase_text(increase, "%"))
    text.loc[languages, FULL_MODEL] = table.loc[languages, FULL_MODEL].map(perplexity_text)
    for column, ends in interval_texts(run.perplexity).items():
        text.loc[ends.index, column] += ends
    sizes = table.loc[[KEY_NEURONS, KEY_NEURONS_SHARE], regions].dropna(axis="columns")
    text.loc[KEY_NEURONS, sizes.columns] = sizes.loc[KEY_NEURONS].map("{:,}".format)
    text.loc[KEY_NEURONS_SHARE, sizes.columns] = sizes.loc[KEY_NEURONS_SHARE].map(lambda percent: share_text(percent / 100))
    return text


def interval_texts(perplexity: pd.DataFrame) -> dict[str, pd.Series]:
    """{column of `wide_table`: by language what stands behind an increase, ` (3.1, 4.2)`}; nothing without intervals."""
    ends = increase_intervals(perplexity)
    if ends is None:
        return {}
    low, high = (end.map(increase_text) for end in ends)
    texts = (" (" + low + ", " + high + ")").where(ends[0].notna(), "")
    return {f"× {language_name(code)}": texts[code].rename(index=language_name) for code in texts}


FIGURE = Figure(
    number="Table 1",
    stem="table1_deactivation",
    title="Perplexity increase after deactivation (%)",
    caption=(
        "How much the perplexity of each language (rows; that of the full model in brackets) rises, in percent, when the key "
        "neurons of one language (columns) are set to zero (the paper's Table 1; key neurons by eq. 12). Beside them stand "
        "random neurons, the mean of several draws: the paper's switch off as many as the largest key region has, drawn from "
        "the whole model; matched ones are as many as the region of the row has and act as strongly. A cell in italics has an "
        "interval that includes no change at all. From 100,000 % on a cell is the factor by which the perplexity has grown."
    ),
    needs=("perplexity.csv", "regions.csv"),
    draw=draw,
    wide_table=wide_table,
    wide_text=wide_text,
)
