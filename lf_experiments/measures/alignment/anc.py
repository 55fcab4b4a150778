"""ANC: whether neurons follow the meanings alike in two languages, one by one (Del and Fishel, 2022, arXiv 2212.01924).

Shapes are written as suffixes: G languages, R sentences of one language, one per meaning, N neurons of a layer.
"""

import torch
from torch import Tensor

OF_NEURONS = True
FEWEST = 3
"""Two points always lie on a line."""


def anc(h_GRN: Tensor) -> tuple[Tensor, Tensor]:
    """The correlation over meanings of each neuron in two languages, summed over neurons, and of how many, (G, G) both.

    The average neuron-wise correlation is their ratio: 1 where all neurons follow the meanings alike, 0 by chance. A neuron
    that does not vary in one of the languages is left out.
    """
    centred_GRN = h_GRN - h_GRN.mean(dim=1, keepdim=True)
    size_GN = centred_GRN.square().mean(dim=1).sqrt()
    varies_GN = size_GN > torch.finfo(torch.float32).eps * h_GRN.abs().amax(dim=1)
    unit_GRN = centred_GRN / size_GN.where(varies_GN, torch.inf)[:, None]
    unit_GX, varies_GN = unit_GRN.flatten(1), varies_GN.to(h_GRN.dtype)
    return unit_GX @ unit_GX.T / h_GRN.shape[1], varies_GN @ varies_GN.T
