"""Appendix C of the paper: the figures 8 to 11 and the tables 3 and 4, which repeat those of its body for LLaMA models."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure as Picture

from lf_experiments.figures import (
    figure2_similarity_map,
    figure3_layer_scores,
    figure6_key_neurons_by_language,
    figure7_model_scale,
    style,
    table1_deactivation,
    table2_generations,
)
from lf_experiments.figures.figure import Figure
from lf_experiments.runs.families import APPENDIX_C
from lf_experiments.runs.lines import line_names
from lf_experiments.runs.sweep import Sweep

NEEDS = figure2_similarity_map.FIGURE.needs
COLUMNS = 3
"""Of the maps side by side."""


def of_llama(figure: Figure, number: str, stem: str, of: str = "the LLaMA of a sweep") -> Figure:
    """A figure of the body, for the models of appendix C."""
    caption = f"{figure.number} for {of} (the paper's {number}). {figure.caption}"
    return replace(figure, number=number, stem=stem, title=f"{figure.title}, LLaMA", caption=caption, part=APPENDIX_C)


def names_of_maps(sweep: Sweep) -> dict:
    """{run: the name of its model} of all with final weights and a map."""
    return {run: name for run, name in line_names(sweep.finals).items() if run.has(*NEEDS)}


def draw_maps(sweep: Sweep, title: str) -> Picture:
    """One map per model, all in the same colours."""
    names = names_of_maps(sweep)
    columns = min(len(names), COLUMNS)
    many = any(len(run.metrics.languages) > style.MANY for run in names)
    side = 1.3 if many else 1.0  # names along a map need their room
    figure = style.new_figure(6.4 * side * columns, 0.6 + 5.2 * side * -(-len(names) // columns), title, "")
    panels = style.panels(figure, len(names), COLUMNS)
    coloured = figure2_similarity_map.coloured_range(*(run.similarity for run in names))
    for axes, (run, name) in zip(panels, names.items(), strict=True):
        axes.set_title(name, fontsize=11)
        image = figure2_similarity_map.draw_map(axes, run, coloured)
    figure2_similarity_map.name_colours(image, panels)
    return figure


FIGURE8 = Figure(
    number="Figure 8",
    stem="figure8_similarity_maps_llama2",
    title="Similarity maps of the LLaMA models",
    caption=(
        "How alike the neurons of each LLaMA model, small ones first, respond to every pair of sentences: the cosine of their "
        f"activation vectors (the paper's Figure 8, eq. 7). {figure2_similarity_map.HOW_TO_READ} All maps have the same "
        "colours, from the 1st to the 99th percentile of all of them."
    ),
    part=APPENDIX_C,
    enough=lambda sweep: bool(names_of_maps(sweep)),
    draw=draw_maps,
)
FIGURE9 = of_llama(figure3_layer_scores.FIGURE, "Figure 9", "figure9_layer_scores_llama2")
FIGURE10 = of_llama(figure7_model_scale.FIGURE, "Figure 10", "figure10_model_scale_llama2", "LLaMA models")
FIGURE11 = of_llama(figure6_key_neurons_by_language.FIGURE, "Figure 11", "figure11_key_neurons_by_language_llama2")
TABLE3 = of_llama(table2_generations.FIGURE, "Table 3", "table3_generations_llama2")
TABLE4 = of_llama(table1_deactivation.FIGURE, "Table 4", "table4_deactivation_llama2")
