"""1. capture: sentences -> neurons (sec. 3.1, eq. 5)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lf_experiments.config.schema import Config
from lf_experiments.measures.routing import routing_shares
from lf_experiments.measures.soundness import warnings_of
from lf_experiments.neurons.attribution import KEPT_BYTES
from lf_experiments.neurons.capture import sentences_at_once
from lf_experiments.neurons.pooling import ATTRIBUTION, ROUTING
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import FLOAT32, Amount, Cost, RunShape, Work, batches
from lf_experiments.study.operations import Batch, forward_operations
from lf_experiments.study.stage import Stage

log = logging.getLogger(__name__)

FORWARD_AND_BACKWARD = 2
"""A backward pass to the neurons alone, past frozen parameters, takes about as many operations as a forward pass."""
FILE_BYTES = 256
"""Of a file of activations beside them: its header and its digest."""


@dataclass(frozen=True)
class Capture(Stage):
    """Record the neurons on every sentence; they stay in the cache. A mixture of experts leaves `experts.csv` too."""

    name: ClassVar[str] = "capture"
    leaves: ClassVar[tuple[str, ...]] = ("samples.csv",)
    reads: ClassVar[tuple[str, ...]] = ("dataset",)

    model: str
    sentences: str

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Capture:  # noqa: ARG003
        return cls(known["model"], known["dataset"])

    def run(self, bench: Bench) -> dict[str, Any]:
        activations = bench.capture()
        for warning in warnings_of(activations):
            log.warning(warning)
        samples = bench.samples.assign(tokens=activations.tokens_S.tolist())
        bench.folder.write_table(
            "samples.csv", samples[["language", "meaning", "tokens", "text"]].rename_axis("index").reset_index()
        )
        if activations.experts:
            bench.folder.write_table("experts.csv", routing_shares(bench.capture(ROUTING)))
            bench.folder.further_files.append("experts.csv")
        return {
            "num_parameters": activations.num_parameters,
            "num_layers": len(activations.widths),
            "num_neurons": activations.num_neurons,
        }

    def cost(self, shape: RunShape) -> Cost:
        pools = len(shape.pools)
        found = capture_batches(shape, sentences_at_once(pools * shape.reader.num_neurons))
        tokens = sum(rows * tokens for rows, tokens in found)
        note = f"every sentence once: {tokens:,} tokens with padding, batches: {len(found):,}"
        operations, device = forward_operations(shape.reader.model, found), shape.batch_memory(found)
        if ATTRIBUTION in shape.pools:
            operations += FORWARD_AND_BACKWARD * forward_operations(shape.reader.model, found, predicted=tokens)
            device, note = max(device, KEPT_BYTES), f"{note}; once more, forwards and backwards"
        return Cost(
            Work(operations, note, tokens),
            device=device,
            cache=[
                Amount("activations", kept_bytes(shape, pools), "one file per language" + (" and pool" if pools > 1 else ""))
            ],
        )


def capture_batches(shape: RunShape, most_rows: int) -> list[Batch]:
    """The batches in which all sentences are read, of at most so many sentences."""
    lengths = [length for of_language in shape.texts["dataset"].values() for length in of_language]
    return batches(lengths, shape.runtime, most_rows)


def kept_bytes(shape: RunShape, pools: int) -> int:
    """Bytes of the files that keep the activations of all sentences."""
    of_pool = shape.num_sentences * (shape.reader.num_neurons * FLOAT32 + 8) + len(shape.languages) * FILE_BYTES
    return pools * of_pool
