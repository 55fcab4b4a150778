"""Table 3: Table 2 for the LLaMA of a sweep."""

from functools import partial

from lf_experiments.results.figures import table2_generations

NEEDS = table2_generations.NEEDS
TITLE = "Text written without a key region, LLaMA"
CAPTION = (
    "What the LLaMA writes after a sentence (first column), always taking the likeliest token: the whole model, and the model "
    f"while the key neurons of one language are set to zero (the paper's Table 3). {table2_generations.HOW_TO_READ}"
)
draw = partial(table2_generations.draw, title=TITLE)
wide_table, wide_text = table2_generations.wide_table, table2_generations.wide_text
