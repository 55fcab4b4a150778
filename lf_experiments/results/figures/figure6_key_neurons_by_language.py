"""Figure 6: how large the key region of each language is."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lf_experiments.languages import language_name
from lf_experiments.results.figures import style
from lf_experiments.results.tables import read_table, region_sizes, share_text

NEEDS = ("regions.csv",)
TITLE = "Key neurons by language"
CAPTION = (
    "How many neurons are key for each language (their contribution to the similarity of its sentences stands out among the "
    "languages: z-score of eq. 12 above the threshold) and what share of all neurons that is (the paper's Figure 6). The sum "
    "over languages is SKLR, the Size of Key Linguistic Regions."
)


def draw(folder: Path, title: str = TITLE) -> Figure:
    """One bar per language, with the share of all neurons above it."""
    sizes = region_sizes(read_table(folder / "regions.csv"))
    languages = list(sizes.index)
    colours = style.language_colours(languages)
    positions = list(range(len(languages)))

    figure = style.new_figure(max(5.0, 2 + 0.75 * len(languages)), 4.2)
    style.add_title(figure, folder, title)
    axes = figure.add_subplot()
    bars = axes.bar(positions, sizes["key_neurons"], width=0.7, color=[colours[code] for code in languages])
    shares = [share_text(share) for share in sizes["key_neurons"] / sizes["neurons"]]
    axes.bar_label(bars, shares, padding=2, fontsize=9)
    style.name_ticks(axes.xaxis, positions, [language_name(code) for code in languages], slanted=len(languages) > 6)
    axes.set_ylabel("Key neurons")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(y=0.1)
    style.clean(axes)
    return figure
