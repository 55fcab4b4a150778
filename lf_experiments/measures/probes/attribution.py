"""Attribution: neurons whose loss would cost one language more than the others, to first order (`neurons/attribution.py`).

Shapes are written as suffixes: S sentences, G languages, N neurons of a layer.
"""

from __future__ import annotations

import torch

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.by_language import against_others, members
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "attribution"


def attribution(activations: Activations, _: ProbeConfig) -> Scores:
    """What a neuron is worth to a language, less what it is worth to the others on average, in nats per token (score and z).

    Switching off one neuron costs about as much. The sum over a region is not what switching off the region costs.
    """
    tokens_GS = members(activations.language_S) * activations.tokens_S
    share_GS = tokens_GS / tokens_GS.sum(dim=1, keepdim=True)
    contrast_L_GN = [against_others(share_GS @ worth_SN.to(torch.float64)) for worth_SN in activations.h_L_SN]
    return Scores(contrast_L_GN, contrast_L_GN)
