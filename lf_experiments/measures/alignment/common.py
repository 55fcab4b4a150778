"""Common: how alike sentences are that share neither language nor meaning, which eq. (8) and (9) both subtract."""

from torch import Tensor

from lf_experiments.measures.blocks import other_meanings


def common(blocks_GRGR: Tensor) -> Tensor:
    """The mean similarity of sentences of two languages that mean different things, (G, G).

    The activation vectors have length 1: 1 = common + LRDS + SADS + the rest. A model all of whose activations point the same
    way has a small LRDS for that reason alone.
    """
    return other_meanings(blocks_GRGR)
