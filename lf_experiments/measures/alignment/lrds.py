"""LRDS: how far activations separate languages (eq. 8, sec. 3.2)."""

from torch import Tensor

from lf_experiments.measures.blocks import other_meanings


def lrds(blocks_GRGR: Tensor) -> Tensor:
    """How much more alike sentences of one language are than sentences of the two, meanings always different, (G, G).

    It is half the squared distance of the mean activation vectors of two languages, estimated without bias. The mean over
    pairs is eq. (8).
    """
    similarity_GG = other_meanings(blocks_GRGR)
    within_G = similarity_GG.diagonal()
    return (within_G[:, None] + within_G[None, :]) / 2 - similarity_GG
