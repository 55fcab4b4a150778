"""Figure 10: Figure 7 for the LLaMA models of a sweep."""

import pandas as pd
from matplotlib.figure import Figure

from lf_experiments.results.families import llama_runs
from lf_experiments.results.figures.figure7_model_scale import draw_scales, measures_of

TITLE = "Linguistic regions and semantic alignment over scale, LLaMA"
CAPTION = (
    "The final weights of LLaMA models of different sizes (the paper's Figure 10): how far their neurons tell languages apart "
    "(LRDS, eq. 8), how far they bring meanings together across languages (SADS, eq. 9), how many neurons are key for some "
    "language (SKLR, sec. 3.2) and, where it was measured, how often they tell the right English ending of a story in another "
    "language from a wrong one (mean over the languages of the stories; the band is one standard error to each side, the mean "
    "of those of the languages, for they read the same stories). A line joins models whose names begin alike."
)


def can_draw(table: pd.DataFrame, _x: str = "") -> bool:
    """Whether LLaMA models of two sizes were measured."""
    return bool(measures_of(llama_runs(table)))


def draw(table: pd.DataFrame, _x: str = "") -> Figure:
    """One panel per measure, one line per family of LLaMA models."""
    return draw_scales(llama_runs(table), TITLE)
