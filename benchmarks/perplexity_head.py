"""Perplexity with a vocabulary of 250,880: the head in chunks against all logits at once, time and peak memory."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import torch
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM

from benchmarks.bloom_560m import VOCABULARY
from benchmarks.ratios import Ratio, time_ratio
from lf_experiments.evaluations.losses import chunked_scores, full_scores, negative_log_likelihood, predicted_tokens
from lf_experiments.evaluations.windows import Window
from lf_experiments.runs.provenance import peak_memory_bytes

TOKENS = 2048
METHODS = {"full": full_scores, "chunked": chunked_scores}


def ratios(rounds: int) -> list[Ratio]:
    """Time and extra peak memory of one window of 2,048 tokens through two layers and the head."""
    model, ids_BT = model_and_window()
    with torch.no_grad():
        values = {name: summed_nll(name, model, ids_BT) for name in METHODS}
        time = time_ratio(
            "all logits at once / head in chunks, time",
            "",
            lambda: summed_nll("full", model, ids_BT),
            lambda: summed_nll("chunked", model, ids_BT),
            rounds,
            f"the sums differ by {abs(values['full'] / values['chunked'] - 1):.0e} of themselves",
        )
    extra = [(extra_memory("full"), extra_memory("chunked")) for _ in range(rounds)]
    detail = f"{extra[0][0] / 2**30:.2f} GiB against {extra[0][1] / 2**30:.2f} GiB above the model"
    return [
        time,
        Ratio("all logits at once / head in chunks, peak memory", "", [full / chunked for full, chunked in extra], detail),
    ]


def model_and_window() -> tuple[BloomForCausalLM, Tensor]:
    """A short model with BLOOM's vocabulary, and one window of random tokens."""
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=1024, n_layer=2, n_head=16)
    return BloomForCausalLM(config).eval(), torch.randint(3, VOCABULARY, (1, TOKENS))


def summed_nll(method: str, model: BloomForCausalLM, ids_1T: Tensor) -> float:
    """The negative log-likelihood of all tokens after the first, in nats."""
    read_1T = ids_1T[:, :-1]
    predicted = predicted_tokens([(0, Window(ids_1T[0].tolist(), bytes=0))])
    return METHODS[method](model, read_1T, torch.ones_like(read_1T), predicted, negative_log_likelihood).sum().item()


def extra_memory(method: str) -> int:
    """Peak memory of a method above that of the model alone, in bytes, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured_memory, (method,))


def measured_memory(method: str) -> int:
    """Growth of this process's peak resident memory while one window is scored."""
    model, ids_BT = model_and_window()
    with torch.no_grad():
        summed_nll(method, model, ids_BT[:, :8])
        Path("/proc/self/clear_refs").write_text("5")  # on Linux: the peak counts from here
        before = peak_memory_bytes()
        summed_nll(method, model, ids_BT)
    return peak_memory_bytes() - before
