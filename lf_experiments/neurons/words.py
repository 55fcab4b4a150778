"""The words a neuron writes: its column of the second MLP matrix, read by the head as if it were the whole residual stream.

Shapes are written as suffixes: K neurons, D width of the residual stream, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from lf_experiments.errors import InputError
from lf_experiments.models.load import Reader, device_of

log = logging.getLogger(__name__)

WORDS = 8
"""How many words are told of each neuron."""
TRIED = 8 * WORDS
"""How many tokens are looked at for them: those that are no whole characters say nothing to a reader."""
ROWS_AT_ONCE = 64
"""Neurons whose logits are held at once."""


@torch.no_grad()
def written_words(reader: Reader, layers: list[int], neurons: list[int]) -> list[list[str]]:
    """The tokens of the vocabulary that each neuron raises most when it is active, the most first.

    The norm before the head is left out. Empty lists where the weights cannot be asked, or where the head is not as wide as
    the residual stream.
    """
    layer_K, neuron_K = torch.tensor(layers, dtype=torch.long), torch.tensor(neurons, dtype=torch.long)
    words: list[list[str]] = [[] for _ in layers]
    try:
        for layer in layer_K.unique().tolist():
            for row_K in (layer_K == layer).nonzero()[:, 0].split(ROWS_AT_ONCE):
                column_KD = reader.sites[layer].columns(neuron_K[row_K])
                for row, tokens in zip(row_K.tolist(), most_raised(reader, column_KD), strict=True):
                    words[row] = readable(reader.tokenizer.decode([token]) for token in tokens)
    except (InputError, RuntimeError) as error:
        log.info("The words that neurons write are left out: %s", error)
        return [[] for _ in layers]
    return words


def most_raised(reader: Reader, column_KD: Tensor) -> list[list[int]]:
    """The tokens whose logits a step along each column raises most; the head is asked, however it keeps its weights."""
    head: Any = reader.model.get_output_embeddings()
    weight = head.weight
    device = device_of(head) or weight.device
    step_KD = column_KD.to(device, weight.dtype if weight.is_floating_point() else torch.float32)
    raised_KV = (head(step_KD) - head(torch.zeros_like(step_KD[:1]))).float()[:, : len(reader.tokenizer)]
    return raised_KV.topk(min(TRIED, raised_KV.shape[1]), dim=1).indices.tolist()


def readable(words: Iterable[str]) -> list[str]:
    """The first words that are whole characters and not empty."""
    return list(islice((word for word in words if word.strip() and "\N{REPLACEMENT CHARACTER}" not in word), WORDS))
