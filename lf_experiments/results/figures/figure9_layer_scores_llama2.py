"""Figure 9: Figure 3 for the LLaMA of a sweep."""

from functools import partial

from lf_experiments.results.figures import figure3_layer_scores

NEEDS = figure3_layer_scores.NEEDS
TITLE = "LRDS and SADS by layer, LLaMA"
CAPTION = (
    "How far each layer of the LLaMA separates languages (LRDS, eq. 8: lower is more language-agnostic) and how far it aligns "
    "meanings across languages (SADS, eq. 9: higher is more semantic), as in the paper's Figure 9. The two scales differ."
)
draw = partial(figure3_layer_scores.draw, title=TITLE)
