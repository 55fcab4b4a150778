"""SADS: how far activations align meanings across languages (eq. 9, sec. 3.2)."""

from torch import Tensor

from lf_experiments.measures.blocks import other_meanings, translations


def sads(blocks_GRGR: Tensor) -> Tensor:
    """How much more alike translations are than sentences of the two languages that mean different things, (G, G).

    The mean over pairs is eq. (9).
    """
    return translations(blocks_GRGR) - other_meanings(blocks_GRGR)
