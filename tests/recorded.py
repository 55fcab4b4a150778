"""For tests of models whose layers are equally wide: activations as one tensor, and activations from one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.capture import capture


def captured(reader: Reader, texts: list[str], batch_tokens: int, pool: str = "mean") -> Tensor:
    """What `capture` leaves of one pool, (L, S, N)."""
    return torch.stack(capture(reader, texts, batch_tokens, [pool])[pool])


def labelled(h_L_SN: Sequence[Tensor], language_S: Tensor, meaning_S: Tensor | None = None) -> Activations:
    """Activations of sentences with numbers for languages and meanings; by default every sentence has its own meaning."""
    sentences = len(language_S)
    languages = [f"language {number}" for number in language_S.tolist()]
    meanings = [str(number) for number in (range(sentences) if meaning_S is None else meaning_S.tolist())]
    return Activations(list(h_L_SN), languages, meanings, torch.ones(sentences, dtype=torch.int64), 1)
