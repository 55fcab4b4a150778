"""4. probe: neurons -> key linguistic regions (sec. 3.3, eq. 10-14)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from lf_experiments.config.schema import Config, ProbeConfig
from lf_experiments.measures.by_language import NEURONS_AT_ONCE
from lf_experiments.measures.probe import most_languages, noise_floor_of, pools_of, probe
from lf_experiments.measures.regions import Regions
from lf_experiments.measures.routing import with_experts
from lf_experiments.measures.uncertainty.evidence import Evidence, evidence, on_meanings
from lf_experiments.measures.uncertainty.nulls import Null
from lf_experiments.measures.uncertainty.regrouping import SUM_BYTES
from lf_experiments.measures.uncertainty.replication import REPLICATED, Replication
from lf_experiments.neurons.activations import Activations
from lf_experiments.storage import file_digest
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import FLOAT32, FLOAT64, Amount, Cost, RunShape
from lf_experiments.study.stage import Stage

ACTIVATION_COPIES = 3
"""Tensors of float64 as large as the activations of so many neurons of a layer, while regions are probed."""
SCORE_COPIES = 5
"""Tensors of float64 as large as all scores of eq. (11), while regions are probed."""
STABILITY = ["method", "language", "size", "dice", "stability", "precision", "precision_replicated"]
SUM_COPIES, SUM_SIZE = 4, 8
"""Tensors as large as the sums of groupings, while a probe is tried on shuffled languages and halves; bytes of two sums."""
KEY_NEURON_BYTES = 29
"""Of a row of `key_neurons.parquet`."""
NEURON_SCORES = "neuron_scores.parquet"
"""What every neuron is selected by, where that is kept."""


@dataclass(frozen=True)
class Probe(Stage):
    """Select the key neurons of every language."""

    name: ClassVar[str] = "probe"
    leaves: ClassVar[tuple[str, ...]] = ("regions.csv", "key_neurons.parquet", "stability.csv")

    activations: str
    probe: ProbeConfig
    neurons: str | None
    """The file that `probe.path` names, as its digest."""
    level: float | None
    permutations: int
    halves: int
    seed: int | None
    """Of the shuffled labels, of the halves, and of a share of the meanings; None where there are none of these."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Probe:
        given = config.uncertainty
        seed = config.seed if given.permutations or given.halves or config.probe.meanings < 1 else None
        neurons = digest_of(config.probe.path)
        return cls(known["capture"], config.probe, neurons, given.level, given.permutations, given.halves, seed)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("capture",)

    def run(self, bench: Bench) -> dict[str, Any]:
        captured = {pool: bench.capture(pool) for pool in pools_of(self.probe)}
        used = on_meanings(captured, self.probe.meanings, self.seed or 0)
        found = self.evidence(captured, used)
        regions = with_frequency(probe(used, self.probe), found.replication)
        again = regions.replicated(REPLICATED) if found.replication else None
        if again and self.probe.replicated:  # a shuffle says nothing of neurons that were selected again and again
            regions, found = again, replace(found, null_LPG=None)
        bench.folder.write_table("regions.csv", sizes(regions, again, found))
        bench.folder.write_table("key_neurons.parquet", with_experts(regions.key_neurons(), captured["mean"].experts))
        bench.folder.write_table("stability.csv", stability(self.probe.name, regions, found.replication))
        if self.probe.keep_scores:
            bench.folder.write_table(NEURON_SCORES, regions.selected_by())
            bench.folder.further_files.append(NEURON_SCORES)
        return self.scores(regions, again, found, captured["mean"].num_neurons)

    def evidence(self, captured: Mapping[str, Activations], used: Mapping[str, Activations]) -> Evidence:
        """The shuffles of the sentences that regions are found on, and the halves of all of them."""
        seed = self.seed or 0
        if self.probe.meanings == 1:
            return evidence(captured, self.probe, self.permutations, self.halves, seed)
        shuffled = evidence(used, self.probe, self.permutations, 0, seed)
        return replace(shuffled, replication=evidence(captured, self.probe, 0, self.halves, seed).replication)

    def scores(self, regions: Regions, again: Regions | None, found: Evidence, neurons: int) -> dict[str, float]:
        """SKLR, what it is under shuffled languages, how far it exceeds that, and how much of it replicates."""
        scores: dict[str, float] = {"sklr": regions.sklr, "sklr_fraction": regions.sklr / neurons}
        if again:
            scores["sklr_replicated"] = again.sklr
        if found.null:
            scores |= against_null(regions.sklr, found.null, self.level, neurons)
            floor = noise_floor_of(self.probe, len(regions.languages))
            scores |= {} if floor is None else {"sklr_floor": floor}
        return scores

    def cost(self, shape: RunShape) -> Cost:
        languages, neurons = len(shape.languages), shape.reader.num_neurons
        width = max(shape.reader.widths)
        of_layer = shape.num_sentences * (width * FLOAT32 + ACTIVATION_COPIES * min(width, NEURONS_AT_ONCE) * FLOAT64)
        rows = neurons * most_languages(self.probe, languages)
        groupings = (self.permutations + 2 * self.halves) * languages * min(width, NEURONS_AT_ONCE)
        regrouped = of_layer + SUM_COPIES * min(SUM_BYTES, groupings * SUM_SIZE)
        kept = Amount(NEURON_SCORES, neurons * (languages + 2) * FLOAT32, "a row per neuron, a column per language")
        return Cost(
            host=max(of_layer + SCORE_COPIES * languages * neurons * FLOAT64, regrouped),
            host_note="the scores of all neurons in float64",
            folder=[
                Amount("key_neurons.parquet", rows * KEY_NEURON_BYTES, f"at most, {rows:,} key neurons"),
                *([kept] if self.probe.keep_scores else []),
            ],
        )


def with_frequency(regions: Regions, found: Replication | None) -> Regions:
    """Regions whose neurons know how often halves select them."""
    return replace(regions, frequency_L_GN=found.frequency_L_GN) if found else regions


def against_null(sklr: int, null: Null, level: float | None, neurons: int) -> dict[str, float]:
    """The scores of a null of SKLR, as counts and as shares, with the middle part of the shuffles as their interval."""
    counts = {"sklr_null": null.mean, "sklr_excess": sklr - null.mean}
    if level:
        low, high = null.interval(level)
        counts |= {"sklr_null_lo": low, "sklr_null_hi": high, "sklr_excess_lo": sklr - high, "sklr_excess_hi": sklr - low}
    shares = {re.sub("(null|excess)", r"\1_fraction", name): count / neurons for name, count in counts.items()}
    return {**counts, **shares, "sklr_p": null.p_value(sklr)}


def sizes(regions: Regions, again: Regions | None, found: Evidence) -> pd.DataFrame:
    """The sizes of the regions in the columns of `regions.csv`, with their means under shuffled languages; empty without."""
    table = regions.sizes()
    null = math.nan if found.null_LPG is None else found.null_LPG.mean(dim=1).T.flatten().numpy()
    replicated = again.sizes()["key_neurons"].astype("Int64") if again else pd.array([pd.NA] * len(table), dtype="Int64")
    return table.assign(null_mean=null, excess=table["key_neurons"] - null, replicated=replicated)


def stability(method: str, regions: Regions, found: Replication | None) -> pd.DataFrame:
    """How halves of the meanings agree on every region, in the columns of `stability.csv`; no row without halves."""
    if found is None:
        return pd.DataFrame(columns=STABILITY)
    of_half_G, of_both_G = found.precision_G
    rows = (found.dice_G, found.stability_G, of_half_G, of_both_G)
    values = [method, regions.languages, regions.size_LG.sum(dim=0).tolist(), *(row_G.tolist() for row_G in rows)]
    return pd.DataFrame(dict(zip(STABILITY, values, strict=True)))


def digest_of(path: str | None) -> str | None:
    """The digest of a file; None where none is named, or none is there."""
    file = Path(path).expanduser() if path else None
    return file_digest(file).hex() if file and file.is_file() else None
