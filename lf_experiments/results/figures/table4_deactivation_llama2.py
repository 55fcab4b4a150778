"""Table 4: Table 1 for the LLaMA of a sweep."""

from functools import partial

from lf_experiments.results.figures import table1_deactivation

NEEDS = table1_deactivation.NEEDS
TITLE = "Perplexity increase after deactivation (%), LLaMA"
CAPTION = (
    "How much the LLaMA's perplexity of each language (rows; that of the full model in brackets) rises, in percent, when the "
    "key neurons of one language (columns) are set to zero (the paper's Table 4). A last column of random neurons switches off "
    "as many as the largest key region has, drawn from the whole model."
)
draw = partial(table1_deactivation.draw, title=TITLE)
wide_table, wide_text = table1_deactivation.wide_table, table1_deactivation.wide_text
