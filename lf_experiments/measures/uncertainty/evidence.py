"""What stands beside key regions: how large they are under shuffled languages, and how halves of the meanings agree on them.

A probe whose module has `of_moments` is tried on sums (`regrouping.py`), which costs little. Any other is called again on the
same activations with other labels, fewer times.

Shapes are written as suffixes: S sentences, B groupings, P permutations, G languages, N neurons of a layer. `L_` marks a list
over layers, which may differ in width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.extensions import beside
from lf_experiments.measures.probe import Captured, method_of, moments_of, probe
from lf_experiments.measures.uncertainty.nulls import Null
from lf_experiments.measures.uncertainty.regrouping import halves, key_neurons_under, part, shuffled_languages
from lf_experiments.measures.uncertainty.replication import Replication, replication
from lf_experiments.neurons.activations import Activations, Layers

MOST_PERMUTATIONS, MOST_SPLITS = 20, 10
"""Of a probe that has to be called again for each: together as long as 30 probes of all sentences."""


@dataclass(frozen=True)
class Evidence:
    """What is known of the key regions of some activations beside their neurons."""

    null_LPG: Tensor | None
    """Key neurons by layer and language under every shuffle of the languages, float64; None without shuffles."""
    replication: Replication | None
    """The agreement of halves; None without halves."""

    @property
    def null(self) -> Null | None:
        """SKLR under shuffled languages."""
        return None if self.null_LPG is None else Null(self.null_LPG.sum(dim=(0, 2)))


def evidence(captured: Captured, config: ProbeConfig, permutations: int, splits: int, seed: int) -> Evidence:
    """The regions of a probe under so many shuffles of the languages within meanings, and in so many pairs of halves.

    None of neurons that were not found here (`READS_NOTHING`). The sentences may stand in any order, every language with one
    sentence of every meaning.
    """
    if beside(method_of(config), "READS_NOTHING", False) or not (permutations or splits):
        return Evidence(None, None)
    activations = next(iter(captured.values())) if isinstance(captured, Mapping) else captured
    language_S, meaning_S = activations.language_S, activations.meaning_S
    languages, meanings = len(activations.language_codes), int(meaning_S.max()) + 1
    statistic = moments_of(config)
    if statistic is None:
        permutations, splits = min(permutations, MOST_PERMUTATIONS), min(splits, MOST_SPLITS)
    shuffled, halved = shuffled_languages(languages, meanings, permutations, seed), halves(languages, meanings, splits, seed)
    language_BS = torch.cat([shuffled, halved])[:, language_S * meanings + meaning_S]
    is_key_L_BGN: Iterable[Tensor]
    if statistic is None:
        is_key_L_BGN = selected_again(captured, config, language_BS)
    else:
        is_key_L_BGN = key_neurons_under(activations.h_L_SN, language_BS, languages, statistic, config.threshold)
    null_L_PG: list[Tensor] = []
    agreement = replication(of_halves(is_key_L_BGN, permutations, null_L_PG))
    return Evidence(torch.stack(null_L_PG) if permutations else None, agreement if splits else None)


def on_meanings(captured: Mapping[str, Activations], share: float, seed: int) -> Mapping[str, Activations]:
    """The activations of the sentences of a random share of the meanings, the same in every language."""
    if share == 1:
        return captured
    activations = next(iter(captured.values()))
    language_S, meaning_S = activations.language_S, activations.meaning_S
    languages, meanings = len(activations.language_codes), int(meaning_S.max()) + 1
    part_S = part(languages, meanings, share, seed)[language_S * meanings + meaning_S]
    return {pool: with_languages(of_pool, part_S) for pool, of_pool in captured.items()}


def of_halves(is_key_L_BGN: Iterable[Tensor], permutations: int, null_L_PG: list[Tensor]) -> Iterator[Tensor]:
    """Yields the key neurons of the halves, layer by layer; the sizes under the shuffles before them go to `null_L_PG`."""
    for is_key_BGN in is_key_L_BGN:
        null_L_PG.append(is_key_BGN[:permutations].sum(dim=2).to(torch.float64))
        yield is_key_BGN[permutations:]


# A probe called again ---------------------------------------------------------------------------------------------------


def selected_again(captured: Captured, config: ProbeConfig, language_BS: Tensor) -> list[Tensor]:
    """Which neurons any probe finds key under every grouping, layer by layer (B, G, N), bool.

    `language_BS` is as in `regrouping.key_neurons_under`.
    """
    found = [probe(relabelled(captured, language_S), config).is_key_L_GN for language_S in language_BS]
    return [torch.stack(is_key_B_GN) for is_key_B_GN in zip(*found, strict=True)]


def relabelled(captured: Captured, language_S: Tensor) -> Captured:
    """Activations with other languages for their sentences, those of -1 left out; the languages stay in their order."""
    if isinstance(captured, Mapping):
        return {pool: with_languages(activations, language_S) for pool, activations in captured.items()}
    return with_languages(captured, language_S)


def with_languages(captured: Activations, language_S: Tensor) -> Activations:
    """The same of the activations of one pool."""
    codes = captured.language_codes
    rows = sorted(
        (row for row, language in enumerate(language_S.tolist()) if language >= 0), key=lambda row: int(language_S[row])
    )
    return replace(
        captured,
        h_L_SN=SomeRows(captured, torch.tensor(rows)),
        languages=[codes[int(language_S[row])] for row in rows],
        meanings=[captured.meanings[row] for row in rows],
        tokens_S=captured.tokens_S[rows],
    )


@dataclass(frozen=True)
class SomeRows(Layers):
    """Some sentences of every layer, taken from a layer only when it is read: no second copy of all activations is held."""

    of: Activations
    row_R: Tensor

    @property
    def widths(self) -> list[int]:
        return self.of.widths

    @property
    def sentences(self) -> int:
        return len(self.row_R)

    def read(self, layer: int) -> Tensor:
        return self.of.h_L_SN[layer][self.row_R]

    def sentence(self, row: int) -> Tensor:
        return self.of.sentence(int(self.row_R[row]))
