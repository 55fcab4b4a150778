"""3. baselines: what the scores would be without learning, from the tokens alone and from random weights (docs/trust.md)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lf_experiments.config.schema import Baseline, Config
from lf_experiments.measures.baselines import baseline_table, token_map
from lf_experiments.measures.similarity import whole_map
from lf_experiments.neurons.activations import numbered_documents
from lf_experiments.neurons.capture import sentences_at_once
from lf_experiments.neurons.kept_capture import HELD_BYTES
from lf_experiments.study.bench import Bench
from lf_experiments.study.capture import capture_batches, kept_bytes
from lf_experiments.study.compare import MAP_COPIES
from lf_experiments.study.cost import FLOAT64, Amount, Cost, RunShape, Work
from lf_experiments.study.operations import forward_operations
from lf_experiments.study.stage import Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baselines(Stage):
    """LRDS, SADS and their companions of baselines, as paired differences from those of the model."""

    name: ClassVar[str] = "baselines"
    leaves: ClassVar[tuple[str, ...]] = ("baselines.csv",)
    reads: ClassVar[tuple[str, ...]] = ("dataset",)

    comparison: str
    baselines: list[str]
    level: float | None
    seed: int | None
    """Of the random weights; None without them."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Baselines:
        seed = config.seed if Baseline.random_weights in config.baselines else None
        return cls(known["compare"], [baseline.name for baseline in config.baselines], config.uncertainty.level, seed)

    @classmethod
    def is_wanted(cls, config: Config) -> bool:
        return bool(config.baselines)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("compare",)

    def run(self, bench: Bench) -> dict[str, Any]:
        model_SS = torch.from_numpy(bench.folder.read_array("similarity.npy")).to(torch.float64)
        maps = {name: self.map_of(Baseline[name], bench) for name in self.baselines if is_feasible(Baseline[name], bench)}
        documents = numbered_documents(bench.sentences.meanings)
        table = baseline_table(model_SS, maps, len(bench.languages), self.level, documents)
        bench.folder.write_table("baselines.csv", table)
        return {}

    def map_of(self, baseline: Baseline, bench: Bench) -> Tensor:
        """The similarity map of a baseline on the sentences of the run."""
        if baseline is Baseline.tokens:
            return token_map(bench.read_tokens())
        return whole_map(bench.capture_untrained(self.seed or 0).h_L_SN)

    def cost(self, shape: RunShape) -> Cost:
        maps = MAP_COPIES * shape.num_sentences**2 * FLOAT64
        if self.seed is None:
            return Cost(host=maps, host_note="maps in float64")
        found = capture_batches(shape, sentences_at_once(shape.reader.num_neurons))
        tokens = sum(rows * length for rows, length in found)
        return Cost(
            Work(forward_operations(shape.reader.model, found), "every sentence once, with random weights", tokens),
            device=shape.batch_memory(found),
            host=min(shape.activations, HELD_BYTES) + maps,
            host_note="the same with random weights",
            cache=[Amount("activations with random weights", kept_bytes(shape, 1), "one file per language, for all steps")],
        )


def is_feasible(baseline: Baseline, bench: Bench) -> bool:
    """Whether a baseline can be had; warns where it cannot: random weights are not drawn in a few bits."""
    if baseline is Baseline.random_weights and bench.is_quantized:
        log.warning("the model is quantized: there is no baseline of random weights, which would need its whole memory")
        return False
    return True
