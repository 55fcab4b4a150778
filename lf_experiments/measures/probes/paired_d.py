"""Paired d: neurons that do the same meaning otherwise in one language than in the others; the meaning cancels.

Shapes are written as suffixes: G languages, M meanings, N neurons of a layer.
"""

from __future__ import annotations

from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.by_language import against_others, in_deviations, parallel_rows, scored_neurons
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "mean"


def paired_d(activations: Activations, _: ProbeConfig) -> Scores:
    """The mean over meanings of the difference to the translations (score), and that in units of its deviation (z), signed.

    The difference is that of the sentence in the language to the mean of its translations, of the vectors of eq. (6); z times
    the square root of M is Student's t with M - 1 degrees of freedom. 0 for a neuron whose difference never varies. Raises
    `ValueError` for sentences that are not parallel.
    """
    row_GM = parallel_rows(activations)

    def scored(a_SN: Tensor) -> tuple[Tensor, Tensor]:
        difference_GMN = against_others(a_SN[row_GM])
        mean_GN = difference_GMN.mean(dim=1)
        return mean_GN, in_deviations(mean_GN, difference_GMN.std(dim=1), a_SN.abs().amax(dim=0))

    return Scores(*scored_neurons(activations, scored))
