"""Figure 6: how large the key region of each language is."""

from __future__ import annotations

from matplotlib.figure import Figure as Picture

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.languages import language_name
from lf_experiments.runs.derived import null_neurons, region_sizes
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import share_text

NULL_LOOK = {"color": style.DARK, "linestyle": ":", "linewidth": 1.8, "gid": style.NULL, "label": style.SHUFFLED}


def draw(run: Run, title: str) -> Picture:
    """One bar per language, with the share of all neurons above it."""
    sizes = region_sizes(run.regions)
    languages = list(sizes.index)
    colours = style.language_colours(languages)
    positions = list(range(len(languages)))

    width = min(max(5.0, 2 + 0.75 * len(languages)), style.WIDEST)
    figure = style.new_figure(width, 4.2 + style.more_height(len(languages)), title, run.title)
    axes = figure.add_subplot()
    bars = axes.bar(positions, sizes["key_neurons"], width=0.7, color=[colours[code] for code in languages])
    shares = [share_text(share) for share in sizes["key_neurons"] / sizes["neurons"]]
    axes.bar_label(bars, shares, padding=2, fontsize=9 if len(languages) <= style.MANY else 7)
    null = null_neurons(run.regions, "language")
    if null is not None:
        heights = null[languages].to_numpy(float)
        axes.hlines(heights, [place - 0.4 for place in positions], [place + 0.4 for place in positions], **NULL_LOOK)
        axes.legend(loc="best", frameon=False, fontsize=9)
    style.name_ticks(axes.xaxis, positions, list(map(language_name, languages)), slanted=len(languages) > 6)
    style.key_neuron_axis(axes)
    axes.margins(x=0.02, y=0.1)
    return figure


FIGURE = Figure(
    number="Figure 6",
    stem="figure6_key_neurons_by_language",
    title="Key neurons by language",
    caption=(
        "How many neurons are key for each language (their contribution to the similarity of its sentences stands out among "
        "the languages; the paper's rule: z, eq. 12, above the threshold) and what share of all neurons that is (the paper's "
        "Figure 6). The sum over languages is SKLR, the Size of Key Linguistic Regions. Dotted lines are how many are key when "
        "the languages of the sentences are shuffled: only what is above them is about the language."
    ),
    needs=("regions.csv",),
    draw=draw,
)
