"""A model of the shape of bloom-560m with random weights, and sentences as token ids, so that nothing is downloaded."""

from __future__ import annotations

import random

import torch
from transformers import BloomConfig, BloomForCausalLM

from lf_experiments.models.families import neuron_sites
from lf_experiments.models.load import Reader

VOCABULARY = 250_880


class SpelledIds:
    """Stands for a tokenizer: a text is its token ids, spelled out."""

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        """The ids of each text."""
        return {"input_ids": [[int(token) for token in text.split()] for text in texts]}


def reader(dtype: torch.dtype) -> Reader:
    """24 layers of 4096 neurons, equal weights for every dtype up to rounding."""
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=1024, n_layer=24, n_head=16)
    model = BloomForCausalLM(config).to(dtype).eval()
    return Reader(model, SpelledIds(), neuron_sites(model), prefix=[], context=2048)


def sentences(count: int, vocabulary: int = VOCABULARY) -> list[str]:
    """Sentences of 12 to 70 tokens, about as long as those of a news corpus under BLOOM's tokenizer."""
    rng = random.Random(0)
    return [" ".join(str(rng.randrange(3, vocabulary)) for _ in range(rng.randint(12, 70))) for _ in range(count)]
