"""The floating-point operations of forward passes; a multiplication and an addition are two.

They are counted over every token of a padded batch: the matrices of the decoder, of routed experts those that a token is routed
to, and in every layer the attention of all positions to all. The head is counted where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lf_experiments.models.families import experts_per_token, head_width

Batch = tuple[int, int]
"""Sequences of a batch, and tokens of each, padding included."""
ReadOn = tuple[int, int, int]
"""Sequences of a batch, tokens of each, and those before them whose keys and values are at hand."""


def forward_operations(
    model: PreTrainedModel, batches: list[Batch], predicted: int = 0, continued: int = 0, read_on: Sequence[ReadOn] = ()
) -> int:
    """Operations of forward passes over batches, with the head applied to `predicted` tokens; no weights are needed.

    Every sequence is then continued by so many tokens: the first follows from the batch, each other one reads that before it.
    The batches of `read_on` come besides.
    """
    config = model.config.get_text_config()
    modules = list(model.get_decoder().modules())
    matrices = sum(module.weight.numel() for module in modules if isinstance(module, (nn.Linear, Conv1D)))
    matrices += sum(weights_per_token(module, config) for module in modules if hasattr(module, "num_experts"))
    head = model.get_output_embeddings().weight.numel()
    attention = 2 * config.num_hidden_layers * config.num_attention_heads * head_width(config)
    steps = range(1, continued)
    tokens = sum(rows * (length + len(steps)) for rows, length in batches)
    pairs = sum(rows * (length**2 + sum(length + step for step in steps)) for rows, length in batches)
    tokens += sum(rows * length for rows, length, _ in read_on)
    pairs += sum(rows * length * (before + length) for rows, length, before in read_on)
    predicted += continued * sum(rows for rows, _ in batches)
    return 2 * (tokens * matrices + pairs * attention + predicted * head)


def weights_per_token(experts: Any, config: PretrainedConfig) -> int:
    """The weights that a token is multiplied with by those of the experts of a layer that it is routed to."""
    matrices = sum(weight.numel() for weight in experts.parameters() if weight.dim() == 3)
    return matrices * experts_per_token(config) // experts.num_experts
