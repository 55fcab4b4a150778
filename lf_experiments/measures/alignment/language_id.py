"""Language identification: how often a sentence is told by its neurons from those of another language, without training.

Shapes are written as suffixes: G and H languages, R sentences of one language, one per meaning.
"""

import torch
from torch import Tensor


def language_id(blocks_GRGR: Tensor) -> Tensor:
    """The share of the sentences of two languages that are nearer to the mean of their own than to that of the other, (G, G).

    Both means are without the meaning of the sentence. Guessing gives 1/2; a tie is a miss.
    """
    n = blocks_GRGR.shape[1]
    row_GRH = blocks_GRGR.sum(dim=3)
    same_GRH = torch.einsum("grhr->grh", blocks_GRGR)
    dot_GRH = (row_GRH - same_GRH) / (n - 1)
    own_row_GR, self_GR = torch.einsum("grg->gr", row_GRH), torch.einsum("grg->gr", same_GRH)
    norm_GR = (own_row_GR.sum(dim=1, keepdim=True) - 2 * own_row_GR + self_GR) / (n - 1) ** 2
    distance_GRH = norm_GR.T[None] - 2 * dot_GRH  # squared, but for the norm of the sentence
    own_GR1 = torch.einsum("grg->gr", distance_GRH)[..., None]
    right_GH = (own_GR1 < distance_GRH).to(torch.float64).mean(dim=1)
    return (right_GH + right_GH.T) / 2
