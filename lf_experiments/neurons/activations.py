"""Activations: what the neurons did on every sentence, with the language and the meaning of each.

Shapes are written as suffixes: S sentences, B some of them, N neurons of a layer, K of all layers. `L_` marks a list over
layers, which may differ in width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lf_experiments.corpora.parallel import document_of
from lf_experiments.neurons.sites import Experts


class Layers(Sequence[Tensor]):
    """Activations that are not in memory: a layer, (S, N), is read each time it is asked for."""

    @property
    @abstractmethod
    def widths(self) -> list[int]:
        """Neurons of each layer, N."""

    @property
    @abstractmethod
    def sentences(self) -> int:
        """Sentences, S."""

    @abstractmethod
    def read(self, layer: int) -> Tensor:
        """A layer, (S, N)."""

    @abstractmethod
    def sentence(self, row: int) -> Tensor:
        """One sentence, all layers, (K,)."""

    def __len__(self) -> int:
        return len(self.widths)

    def __getitem__(self, layer: int) -> Tensor:  # type: ignore[override]  # layers are read one by one
        return self.read(range(len(self))[layer])

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.read, range(len(self)))


@dataclass(frozen=True)
class Kept:
    """What is kept of every sentence, before any is read: the facts that `Activations` have of the model."""

    pool: str
    widths: list[int]
    """Numbers of each layer: of its neurons, or of its experts."""
    num_parameters: int
    experts: Sequence[Experts] = ()


class Rows(Protocol):
    """Where the activations of sentences go while a model reads them."""

    def write(self, rows: Sequence[int], h_BK: Tensor) -> None:
        """Keep what the neurons of all layers did on some sentences."""

    def layers(self) -> Sequence[Tensor]:
        """All of it, layer by layer, once every row is written."""


class RowsInMemory:
    """The activations of so many sentences in memory."""

    def __init__(self, kept: Kept, sentences: int) -> None:
        self.h_L_SN = [torch.empty(sentences, width) for width in kept.widths]

    def write(self, rows: Sequence[int], h_BK: Tensor) -> None:
        row_B = torch.tensor(rows)
        for h_SN, h_BN in zip(self.h_L_SN, h_BK.split([h_SN.shape[1] for h_SN in self.h_L_SN], dim=1), strict=True):
            h_SN.index_copy_(0, row_B, h_BN)

    def layers(self) -> list[Tensor]:
        return self.h_L_SN


@dataclass(frozen=True)
class Activations:
    """What a capture leaves: enough for every measure, without the model.

    Raises `ValueError` where labels, tokens and rows are not of one number.
    """

    h_L_SN: Sequence[Tensor]
    """What is kept of every neuron, float32; of the pool `mean` it is eq. (5)."""
    languages: list[str]
    """The language of each sentence."""
    meanings: list[str]
    """The meaning of each sentence; translations share it."""
    tokens_S: Tensor
    """Tokens of each sentence, int64."""
    num_parameters: int
    """Parameters of the model that was read with."""
    pool: str = "mean"
    """Which of `POOLS` made a number of the tokens of a sentence; `ROUTING` where the numbers are of experts."""
    experts: Sequence[Experts] = ()
    """The routed experts of each layer of a mixture; empty for a model without."""

    def __post_init__(self) -> None:
        of_layers = [self.h_L_SN.sentences] if isinstance(self.h_L_SN, Layers) else map(len, self.h_L_SN)
        rows = {len(self.languages), len(self.meanings), len(self.tokens_S), *of_layers}
        if len(rows) != 1:
            raise ValueError(f"activations, labels and tokens of {sorted(rows)} sentences do not belong together")

    @property
    def language_codes(self) -> list[str]:
        """The languages, once each, in the order of the map."""
        return list(dict.fromkeys(self.languages))

    @property
    def language_S(self) -> Tensor:
        """The language of each sentence, as its place in `language_codes`."""
        return numbered(self.languages)

    @property
    def meaning_S(self) -> Tensor:
        """The meaning of each sentence, numbered in the order in which they first occur."""
        return numbered(self.meanings)

    @property
    def document_M(self) -> Tensor | None:
        """The document of each meaning, numbered from 0; None where no meaning tells of one."""
        return numbered_documents(list(dict.fromkeys(self.meanings)))

    @property
    def widths(self) -> list[int]:
        """Neurons of each layer, N."""
        return self.h_L_SN.widths if isinstance(self.h_L_SN, Layers) else [h_SN.shape[1] for h_SN in self.h_L_SN]

    @property
    def num_neurons(self) -> int:
        """Neurons of all layers, K."""
        return sum(self.widths)

    def sentence(self, row: int) -> Tensor:
        """What is kept of all neurons on one sentence, (K,)."""
        if isinstance(self.h_L_SN, Layers):
            return self.h_L_SN.sentence(row)
        return torch.cat([h_SN[row] for h_SN in self.h_L_SN])


def numbered(labels: list[str]) -> Tensor:
    """Each label as its place among the different ones, in the order in which they first occur; int64."""
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return torch.tensor([places[label] for label in labels], dtype=torch.int64)


def numbered_documents(meanings: list[str]) -> Tensor | None:
    """The document of each meaning, numbered from 0; None where no meaning tells of one."""
    documents = [document_of(meaning) for meaning in meanings]
    if not any(documents):
        return None
    return numbered([document or f"meaning {number}" for number, document in enumerate(documents)])
