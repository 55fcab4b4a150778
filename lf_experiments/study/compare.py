"""2. compare: neurons -> similarity map, LRDS, SADS (sec. 3.1 and 3.2, eq. 6-9)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lf_experiments.config.schema import Config
from lf_experiments.measures.by_language import NEURONS_AT_ONCE
from lf_experiments.measures.carried import contribution_table, lrds_contribution, share_for_half
from lf_experiments.measures.similarity import Comparison, compare, ends_of, kept_meanings
from lf_experiments.measures.uncertainty.components import over_languages
from lf_experiments.measures.uncertainty.nulls import lrds_null, sads_null
from lf_experiments.runs.scores import LRDS_HALF, SCORES
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import FLOAT32, FLOAT64, Amount, Cost, RunShape
from lf_experiments.study.stage import Stage

MAP_COPIES = 8
"""Tensors of float64 as large as the similarity map, while its measures are computed."""
LAYER_COPIES = 3
"""Tensors of float64 as large as the activations of the neurons that are compared one by one at once."""
NUMPY_HEADER_BYTES, FLOAT16 = 128, 2
CONTRIBUTION_BYTES = 16
"""Of a row of `contributions.parquet`."""
OVER_LANGUAGES = "_over_languages"
"""Behind the key of a score whose interval is one over languages: `lrds_over_languages_lo`."""


@dataclass(frozen=True)
class Compare(Stage):
    """How alike all sentences are to the model: the scores of the whole model, of each layer, of each pair of languages."""

    name: ClassVar[str] = "compare"
    leaves: ClassVar[tuple[str, ...]] = (
        "similarity.npy",
        "layer_maps.npy",
        "layers.csv",
        "pairs.csv",
        "influence.parquet",
        "contributions.parquet",
    )

    activations: str
    measures: list[str]
    """The scores that are made of a similarity map, and the user's own."""
    level: float | None
    over_languages: bool
    permutations: int
    seed: int | None
    """Of the shuffled labels and of the bands; None where there are neither."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Compare:
        measures, given = [*(score.key for score in SCORES if score.by_layer), *config.measures], config.uncertainty
        seed = config.seed if given.level or given.permutations else None
        return cls(known["capture"], measures, given.level, given.over_languages, given.permutations, seed)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("capture",)

    def run(self, bench: Bench) -> dict[str, Any]:
        comparison = compare(bench.capture(), self.measures)
        bench.folder.write_array("similarity.npy", comparison.similarity_SS.float().numpy())
        bench.folder.write_array("layer_maps.npy", torch.stack(comparison.map_L_RR).numpy())
        bench.folder.write_table("layers.csv", comparison.by_layer(self.level, self.seed or 0))
        bench.folder.write_table("pairs.csv", comparison.by_pair())
        bench.folder.write_table("influence.parquet", comparison.contributions())
        carried = self.carried(bench)
        return comparison.whole.scores() | self.intervals(comparison) | self.p_values(comparison) | carried

    def carried(self, bench: Bench) -> dict[str, float]:
        """Write what every neuron carries of LRDS; returns the share of them that carries half."""
        contribution_L_N = list(lrds_contribution(bench.capture()))
        bench.folder.write_table("contributions.parquet", contribution_table(contribution_L_N))
        share = share_for_half(torch.cat(contribution_L_N))
        return {} if math.isnan(share) else {LRDS_HALF.key: share}

    def intervals(self, comparison: Comparison) -> dict[str, float]:
        """The intervals of the scores over meanings, and over languages where they are wanted."""
        if self.level is None:
            return {}
        found = ends_of(comparison.intervals(self.level))
        if self.over_languages:
            languages = over_languages(comparison.similarity_SS, len(comparison.languages))
            others = {f"{name}{OVER_LANGUAGES}": languages[name].interval(self.level) for name in comparison.estimates()}
            found |= {name: end for name, end in ends_of(others).items() if math.isfinite(end)}
        return found

    def p_values(self, comparison: Comparison) -> dict[str, float]:
        """How often LRDS and SADS are as large under shuffled labels."""
        if not self.permutations:
            return {}
        map_SS, languages, seed = comparison.similarity_SS, len(comparison.languages), self.seed or 0
        nulls = {"lrds": lrds_null, "sads": sads_null}
        found = {name: null(map_SS, languages, self.permutations, seed) for name, null in nulls.items()}
        return {f"{name}_p": null.p_value(comparison.whole[name]) for name, null in found.items()}

    def cost(self, shape: RunShape) -> Cost:
        sentences = shape.num_sentences
        size = sentences**2 * FLOAT32 + NUMPY_HEADER_BYTES
        at_once = min(NEURONS_AT_ONCE, max(shape.reader.widths))
        languages, layers = len(shape.languages), len(shape.reader.sites)
        rows = languages * kept_meanings(sentences // languages, languages, layers)
        return Cost(
            host=(MAP_COPIES * sentences**2 + LAYER_COPIES * sentences * at_once) * FLOAT64,
            host_note="maps and some neurons in float64",
            folder=[
                Amount("similarity.npy", size, f"{sentences:,} x {sentences:,} float32"),
                Amount(
                    "layer_maps.npy", layers * rows**2 * FLOAT16 + NUMPY_HEADER_BYTES, f"{layers} x {rows} x {rows} float16"
                ),
                Amount("contributions.parquet", shape.reader.num_neurons * CONTRIBUTION_BYTES, "at most, a row per neuron"),
            ],
        )
