"""Figure 11: Figure 6 for the LLaMA of a sweep."""

from functools import partial

from lf_experiments.results.figures import figure6_key_neurons_by_language

NEEDS = figure6_key_neurons_by_language.NEEDS
TITLE = "Key neurons by language, LLaMA"
CAPTION = (
    "How many neurons of the LLaMA are key for each language (their contribution to the similarity of its sentences stands out "
    "among the languages: z-score of eq. 12 above the threshold), and what share of all neurons that is, as in the paper's "
    "Figure 11. The sum over languages is SKLR, the Size of Key Linguistic Regions."
)
draw = partial(figure6_key_neurons_by_language.draw, title=TITLE)
