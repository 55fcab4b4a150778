"""Comparison of sentences: the similarity map and what is measured of it, for the whole model, each layer and each pair of
languages (sec. 3.1 and 3.2).

Shapes are written as suffixes: S sentences, R sentences of the first meanings, G languages. `L_` marks a list over layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lf_experiments.equations import similarity_map
from lf_experiments.errors import InputError
from lf_experiments.extensions import beside, load_named, names_in
from lf_experiments.languages import same_script
from lf_experiments.measures.blocks import language_blocks, other_meanings, over_pairs
from lf_experiments.measures.by_language import NEURONS_AT_ONCE, parallel_rows
from lf_experiments.measures.uncertainty.components import components
from lf_experiments.measures.uncertainty.estimate import Estimate, simultaneous_band
from lf_experiments.neurons.activations import Activations

ALIGNMENT = "lf_experiments.measures.alignment"
WHOLE_MODEL = -1
"""The layer of `pairs.csv` and of `influence.parquet` that stands for the whole model."""
TOGETHER = ("rest", "language_share", "meaning_share")
"""Scores of all languages together, which no pair has: parts of the map of `uncertainty/components.py`."""
CONTRIBUTIONS = ("lrds", "sads")
"""The scores whose contribution of every meaning is kept, so that runs can be compared in pairs."""

KEPT_SIMILARITIES = 1_500_000
"""Numbers that the maps of all layers have together, as they are kept: of as many meanings as that allows."""

FEWEST = 3
"""Meanings that an interval needs: without one of them there are still pairs."""

Intervals = dict[str, tuple[float, float]]
"""{score: the ends of its interval}"""

Measure = Callable[[Tensor], Tensor]
"""Language blocks of a similarity map (G, R, G, R) -> its value for every pair of languages, (G, G), symmetric."""

NeuronMeasure = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Neurons of a layer (G, R, N) -> a sum over them for every pair of languages, and how many it is over, (G, G) both."""


Sums = dict[str, tuple[Tensor, Tensor]]
"""{measure of neurons: what it gives of some}"""


@dataclass(frozen=True)
class Measured:
    """What is measured of one similarity map."""

    value_GG: dict[str, Tensor]
    """{measure: its value for every pair of languages}, float64."""
    within_G: Tensor
    """The mean similarity of the sentences of each language, meanings different."""
    estimate: dict[str, Estimate]
    """{score: its value with the influence of every meaning}, of the parts of the map (`uncertainty/components.py`)."""
    together: tuple[str, ...] = TOGETHER
    """Those of `TOGETHER` that were asked for."""

    def __getitem__(self, score: str) -> float:
        """A score: the mean over all pairs of languages, or of all together."""
        return over_pairs(self.value_GG[score]) if score in self.value_GG else self.estimate[score].value

    def beside(self, parts: list[Sums]) -> Measured:
        """The same with what some neurons add up to."""
        totals = {name: [sum(found) for found in zip(*(part[name] for part in parts), strict=True)] for name in parts[0]}
        ratios = {name: sum_GG / number_GG.clamp_min(1) for name, (sum_GG, number_GG) in totals.items()}
        return replace(self, value_GG=self.value_GG | ratios)

    def scores(self) -> dict[str, float]:
        """Every score by name."""
        return {score: self[score] for score in (*self.value_GG, *self.together)}


@dataclass(frozen=True)
class Comparison:
    """How alike the sentences are to the model."""

    similarity_SS: Tensor
    """Eq. (7) over the neurons of all layers, float64."""
    languages: list[str]
    whole: Measured
    """Of that map."""
    layers: list[Measured]
    """Of the map of each layer alone."""
    meanings: list[str]
    """The meanings, in the order of their influences."""
    document_M: Tensor | None = None
    """The document of each meaning, numbered from 0, where the corpus tells them: intervals are then over documents."""
    map_L_RR: list[Tensor] = field(default_factory=list)
    """Eq. (7) over the neurons of each layer, of the sentences of the first meanings alone, in float16 (`kept_meanings`)."""

    def __str__(self) -> str:
        """The scores of the whole model, with their intervals at 95 %, and below them those of every layer, as tables."""
        interval = self.intervals(0.95)
        rows = [f"{name:16}{value:.4f}{interval_text(interval.get(name))}" for name, value in self.whole.scores().items()]
        return "\n".join(["whole model", *rows, "", self.by_layer().to_string(index=False, float_format="{:.4f}".format)])

    def estimates(self, layer: int = WHOLE_MODEL) -> dict[str, Estimate]:
        """The scores that have an interval, each with the influence of every meaning, or of every document."""
        measured = self.whole if layer == WHOLE_MODEL else self.layers[layer]
        found = {name: measured.estimate[name] for name in measured.scores() if name in measured.estimate}
        if self.document_M is None:
            return found
        return {name: estimate.of_groups(self.document_M) for name, estimate in found.items()}

    def intervals(self, level: float) -> Intervals:
        """The intervals of the scores of the whole model; none where there are fewer than three meanings."""
        if len(self.meanings) < FEWEST:
            return {}
        found = {name: estimate.interval(level) for name, estimate in self.estimates().items()}
        return {name: interval for name, interval in found.items() if math.isfinite(sum(interval))}

    def bands(self, level: float, seed: int) -> list[Intervals]:
        """The same for every layer, as bands that hold all layers of a score together with probability `level`."""
        layers = [self.estimates(layer) for layer in range(len(self.layers))]
        found = {name: simultaneous_band([layer[name] for layer in layers], level, seed) for name in self.intervals(level)}
        return [{name: band[layer] for name, band in found.items()} for layer in range(len(layers))]

    def by_layer(self, level: float | None = None, seed: int = 0) -> pd.DataFrame:
        """The scores of every layer, in the columns of `layers.csv`; with a level also `<score>_lo` and `<score>_hi`."""
        table = pd.DataFrame([layer.scores() for layer in self.layers]).rename_axis("layer").reset_index()
        ends = [ends_of(band) for band in self.bands(level, seed)] if level else []
        return pd.concat([table, pd.DataFrame(ends, table.index)], axis=1)

    def contributions(self) -> pd.DataFrame:
        """What every meaning contributes to LRDS and to SADS, in the columns of `influence.parquet`.

        Their mean over the meanings is the score, and their standard deviation over the root of the number of meanings is its
        standard error; so it is for the differences of two runs on the same meanings.
        """
        maps = {WHOLE_MODEL: self.whole, **dict(enumerate(self.layers))}
        tables = [
            pd.DataFrame({"meaning": self.meanings, "layer": layer} | contributions_of(measured))
            for layer, measured in maps.items()
        ]
        return pd.concat(tables, ignore_index=True)

    def by_pair(self) -> pd.DataFrame:
        """The values of every pair of languages, in the columns of `pairs.csv`; layer -1 is the whole model.

        `within` and `within_other` are the mean similarities of the sentences of each of the two, meanings different.
        """
        maps = {WHOLE_MODEL: self.whole, **dict(enumerate(self.layers))}
        rows = [row for layer, measured in maps.items() for row in pair_rows(measured, self.languages, layer)]
        return pd.DataFrame(rows)


def compare(activations: Activations, measures: Iterable[str] | None = None) -> Comparison:
    """Compare every pair of sentences by measures of alignment: all there are, or those named.

    Inner products add up over layers, so only one layer's neurons and (S, S) maps are in hand at a time. Raises `InputError`
    for a measure that there is not, and `ValueError` for sentences that are not parallel. One that needs more meanings than
    there are (its module's `FEWEST`) is left out.
    """
    names = list(measures) if measures else [*names_in(ALIGNMENT), *TOGETHER]
    functions = load_measures(name for name in names if name not in TOGETHER)
    together = tuple(name for name in TOGETHER if name in names)
    language_S, meaning_S = activations.language_S, activations.meaning_S
    number = int(meaning_S.max()) + 1
    functions = {name: measure for name, measure in functions.items() if number >= beside(measure, "FEWEST", 0)}
    of_neurons = {name: measure for name, measure in functions.items() if beside(measure, "OF_NEURONS", False)}
    of_maps = {name: measure for name, measure in functions.items() if name not in of_neurons}
    total_SS = torch.zeros(len(language_S), len(language_S), dtype=torch.float64)
    is_kept_S = meaning_S < kept_meanings(number, len(activations.language_codes), len(activations.h_L_SN))
    layers, map_L_RR, sums = [], [], []

    def gram_and_sums(h_SN: Tensor) -> tuple[Tensor, list[Sums]]:
        return (h_SN @ h_SN.T).to(torch.float64), summed_over_neurons(of_neurons, h_SN, activations)

    for gram_SS, of_layer in map(gram_and_sums, activations.h_L_SN):  # which holds no layer while the next is read
        total_SS += gram_SS
        map_SS = similarity_map(gram_SS)
        layers.append(measured_map(map_SS, language_S, meaning_S, of_maps, together).beside(of_layer))
        sums += of_layer
        map_L_RR.append(map_SS[is_kept_S][:, is_kept_S].half())
    similarity_SS = similarity_map(total_SS)
    whole = measured_map(similarity_SS, language_S, meaning_S, of_maps, together).beside(sums)
    meanings = list(dict.fromkeys(activations.meanings))
    return Comparison(similarity_SS, activations.language_codes, whole, layers, meanings, activations.document_M, map_L_RR)


def kept_meanings(meanings: int, languages: int, layers: int) -> int:
    """How many meanings the maps of layers are kept of: at least one, and all where there is room for them."""
    return max(1, min(meanings, int(math.sqrt(KEPT_SIMILARITIES / layers) / languages)))


def summed_over_neurons(measures: dict[str, NeuronMeasure], h_SN: Tensor, activations: Activations) -> list[Sums]:
    """Every measure of neurons of one layer, in parts where it is wide."""
    if not measures:
        return [{}]
    row_GM, parts = parallel_rows(activations), h_SN.split(NEURONS_AT_ONCE, dim=1)
    return [{name: measure(part_SN[row_GM].to(torch.float64)) for name, measure in measures.items()} for part_SN in parts]


def whole_map(h_L_SN: Iterable[Tensor]) -> Tensor:
    """Eq. (7) over the neurons of all layers, (S, S) in float64."""
    total_SS = torch.zeros((), dtype=torch.float64)
    for h_SN in h_L_SN:
        total_SS = total_SS + (h_SN @ h_SN.T)
    return similarity_map(total_SS)


def load_measures(names: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """{column of the tables: measure} for names of measures, ours or `module:function`, which has the name of the function.

    Raises `InputError` for one that there is not, and for two of one name.
    """
    measures: dict[str, Callable[..., Any]] = {}
    for name in names:
        column = name.rpartition(":")[2]
        if column in measures:
            raise InputError("measures", name, f"there is another measure called {column}", "give the function another name")
        measures[column] = load_named("measures", ALIGNMENT, name)
    return measures


def measured_map(
    similarity_SS: Tensor,
    language_S: Tensor,
    meaning_S: Tensor,
    measures: dict[str, Measure],
    together: tuple[str, ...] = TOGETHER,
) -> Measured:
    """Every measure of one similarity map, and its parts."""
    blocks = language_blocks(similarity_SS, language_S, meaning_S)
    values = {name: measure(blocks) for name, measure in measures.items()}
    parts = components(blocks.reshape(similarity_SS.shape), len(blocks))
    return Measured(values, other_meanings(blocks).diagonal(), parts, together)


def ends_of(intervals: Intervals) -> dict[str, float]:
    """Intervals as they are kept: `<score>_lo` and `<score>_hi`."""
    return {f"{name}{end}": value for name, ends in intervals.items() for end, value in zip(("_lo", "_hi"), ends, strict=True)}


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval behind its number; nothing where there is none."""
    return "" if interval is None else " ({:.4f}, {:.4f})".format(*interval)


def contributions_of(measured: Measured) -> dict[str, list[float]]:
    """What every meaning contributes to the scores of one map."""
    found = {name: measured.estimate[name] for name in CONTRIBUTIONS}
    return {name: (estimate.value + estimate.influence_M).tolist() for name, estimate in found.items()}


def pair_rows(measured: Measured, languages: list[str], layer: int) -> list[dict[str, object]]:
    """The rows of `pairs.csv` of one map: every pair once, in the order of the languages."""
    values = {name: value_GG.tolist() for name, value_GG in measured.value_GG.items()}
    within = measured.within_G.tolist()
    return [
        {
            "language": languages[one],
            "other": languages[other],
            "layer": layer,
            **{name: value[one][other] for name, value in values.items()},
            "within": within[one],
            "within_other": within[other],
            "same_script": same_script(languages[one], languages[other]),
        }
        for one, other in combinations(range(len(languages)), 2)
    ]
