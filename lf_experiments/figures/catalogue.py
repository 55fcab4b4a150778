"""All figures, in the order in which reports show them. A new one is its module and a line here."""

from __future__ import annotations

from lf_experiments.figures import (
    appendix_c,
    cloze_deactivation,
    dose_response,
    figure2_similarity_map,
    figure3_layer_scores,
    figure4_training_dynamics,
    figure5_key_neurons_by_layer,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language,
    figure6_key_neurons_by_language_and_step,
    figure7_model_scale,
    language_pairs,
    language_tree,
    methods,
    methods_over_training,
    table1_deactivation,
    table2_generations,
)
from lf_experiments.figures.figure import Figure

FIGURES: tuple[Figure, ...] = (
    figure2_similarity_map.FIGURE,
    figure3_layer_scores.FIGURE,
    language_pairs.FIGURE,
    language_tree.FIGURE,
    table1_deactivation.FIGURE,
    dose_response.FIGURE,
    cloze_deactivation.FIGURE,
    table2_generations.FIGURE,
    figure5_key_neurons_by_layer.FIGURE,
    figure6_key_neurons_by_language.FIGURE,
)
"""Of one run."""

FIRST_FIGURES = FIGURES[:1]
"""Of one run that goes on, drawn at once for a first look."""

SWEEP_FIGURES: tuple[Figure, ...] = (
    figure2_similarity_map.FIGURE,
    figure3_layer_scores.FIGURE,
    table1_deactivation.FIGURE,
    figure4_training_dynamics.FIGURE,
    figure5_key_neurons_by_layer_and_step.FIGURE,
    figure6_key_neurons_by_language_and_step.FIGURE,
    figure7_model_scale.FIGURE,
    methods.FIGURE,
    methods_over_training.FIGURE,
    table2_generations.FIGURE,
    appendix_c.FIGURE8,
    appendix_c.FIGURE9,
    appendix_c.TABLE4,
    appendix_c.FIGURE10,
    appendix_c.FIGURE11,
    appendix_c.TABLE3,
)
"""Of a sweep, all that the paper has; those of one run show its main run (`Figure.subject_in`)."""
