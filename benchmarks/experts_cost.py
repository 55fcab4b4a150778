"""What recording the neurons of routed experts costs: against the fastest forward pass that transformers has."""

from __future__ import annotations

import torch
from transformers import OlmoeConfig, OlmoeForCausalLM

from benchmarks import bloom_560m
from benchmarks.capture_cost import bare_forward
from benchmarks.ratios import Ratio, seconds_of, time_ratio
from lf_experiments.models.families import neuron_sites
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.experts import IMPLEMENTATION

BATCH_TOKENS = 2048
SENTENCES = 48
VOCABULARY = 50_304
STOCK = ("eager", "grouped_mm")
"""The implementations of transformers that a processor has; `batched_mm` copies the weights of an expert for every token."""


def ratios(rounds: int) -> list[Ratio]:
    """Capture against the bare forward pass of the same batches, at half the width of OLMoE-1B-7B."""
    texts, reader = bloom_560m.sentences(SENTENCES, VOCABULARY), middle_mixture()

    def bare(implementation: str) -> None:
        stock_forward(reader, texts, BATCH_TOKENS, implementation)

    def recorded() -> None:
        capture(reader, texts, BATCH_TOKENS, ["mean", "routing"])

    for implementation in STOCK:
        bare(implementation)
    fastest = min(STOCK, key=lambda implementation: seconds_of(lambda: bare(implementation)))
    name = "capture of a mixture / bare forward pass of the same batches"
    return [time_ratio(name, "at most 1.3", recorded, lambda: bare(fastest), rounds, f"against {fastest}")]


def stock_forward(reader: Reader, texts: list[str], batch_tokens: int, implementation: str = "grouped_mm") -> None:
    """`bare_forward` of a mixture, with its experts computed in one of the ways of transformers."""
    reader.model.set_experts_implementation(implementation)
    bare_forward(reader, texts, batch_tokens)
    reader.model.set_experts_implementation(IMPLEMENTATION)


def middle_mixture() -> Reader:
    """OLMoE with random weights: 3 layers of 64 experts of 512 neurons, 8 of them for each token."""
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=1024,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=16,
        num_key_value_heads=16,
    )
    model = OlmoeForCausalLM(config).eval()
    return Reader(model, bloom_560m.SpelledIds(), neuron_sites(model), prefix=[], context=None)
