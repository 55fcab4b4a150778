"""A file of activations: safetensors, written sentence by sentence while a model reads, read layer by layer afterwards.

Neither way holds more of it in memory than what is asked for: the library of that format writes tensors that are all in memory,
and maps the whole of a file that it reads. The format is a header in JSON before the numbers.

Shapes are written as suffixes: S sentences, B some of them, N neurons of a layer, K of all layers. `L_` marks a list over
layers.
"""

from __future__ import annotations

import ctypes
import json
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lf_experiments.neurons.activations import Kept, Layers
from lf_experiments.neurons.sites import Experts

LENGTH_BYTES = 8
"""Before the header: its length, little-endian."""
LONGEST_HEADER = 100 << 20
"""As the format has it."""
TOKENS = "tokens_S"
LARGE_LAYER = 1 << 26
"""Bytes of a layer beside which what is kept in pieces counts."""
BYTES = {"I64": 8, "F32": 4}
"""Of a number of each format, as safetensors calls them."""


@dataclass(frozen=True)
class CaptureFile:
    """The activations of some sentences in an open file. It can be read to the end where another process removes its name."""

    descriptor: int
    """Closed where the object goes."""
    kept: Kept
    sentences: int
    begin: dict[str, int]
    """Where the numbers of each tensor begin."""

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self.descriptor)

    @classmethod
    def create(cls, path: Path, kept: Kept, sentences: int) -> CaptureFile:
        """A new file, as large as it will be. Raises `OSError` where the disk has no room for it."""
        header, begin, size = layout(kept, sentences)
        file = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666), kept, sentences, begin)
        reserve(file.descriptor, size)
        write(file.descriptor, header, 0)
        return file

    @classmethod
    def open(cls, path: Path) -> CaptureFile:
        """A file that `create` made. Raises `ValueError` for another, and `OSError` where there is none."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            kept, sentences, begin = told_by(descriptor)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            os.close(descriptor)
            raise ValueError(f"{path} holds no activations") from error
        return cls(descriptor, kept, sentences, begin)

    def write_sentence(self, row: int, h_K: Tensor) -> None:
        """Write what is kept of the neurons on one sentence."""
        for layer, h_N in enumerate(h_K.split(self.kept.widths)):
            write(self.descriptor, bytes_of(h_N), self.place(layer, row))

    def write_tokens(self, tokens_S: Tensor) -> None:
        """Write how many tokens each sentence has."""
        write(self.descriptor, bytes_of(tokens_S), self.begin[TOKENS])

    def read_layer(self, layer: int, h_SN: Tensor) -> None:
        """Read the activations of a layer into rows of a tensor, contiguous float32."""
        read_into(self.descriptor, h_SN, self.place(layer, 0))

    def read_sentence(self, row: int, h_K: Tensor) -> None:
        """Read the activations of one sentence, of all layers."""
        for layer, h_N in enumerate(h_K.split(self.kept.widths)):
            read_into(self.descriptor, h_N, self.place(layer, row))

    def read_tokens(self) -> Tensor:
        """How many tokens each sentence has, int64."""
        tokens_S = torch.empty(self.sentences, dtype=torch.int64)
        read_into(self.descriptor, tokens_S, self.begin[TOKENS])
        return tokens_S

    def place(self, layer: int, row: int) -> int:
        """Where the numbers of a sentence in a layer begin."""
        return self.begin[layer_name(layer)] + row * self.kept.widths[layer] * BYTES["F32"]


@dataclass(frozen=True)
class LayersOfFiles(Layers):
    """The layers of files of the same model, whose sentences follow each other, as many in each.

    A layer is read when it is asked for.
    """

    files: list[CaptureFile]

    @property
    def widths(self) -> list[int]:
        return self.files[0].kept.widths

    @property
    def sentences(self) -> int:
        return len(self.files) * self.files[0].sentences

    def read(self, layer: int) -> Tensor:
        h_SN = torch.empty(self.sentences, self.widths[layer])
        if h_SN.nbytes >= LARGE_LAYER:
            return_freed_memory()
        for file, part_SN in zip(self.files, h_SN.split(self.files[0].sentences), strict=True):
            file.read_layer(layer, part_SN)
        return h_SN

    def sentence(self, row: int) -> Tensor:
        number, row = divmod(row, self.files[0].sentences)
        h_K = torch.empty(sum(self.widths))
        self.files[number].read_sentence(row, h_K)
        return h_K


@dataclass(frozen=True)
class RowsOfFiles:
    """Where sentences go that follow each other in files, as many in each."""

    files: list[CaptureFile]

    def write(self, rows: Sequence[int], h_BK: Tensor) -> None:
        """As `Rows`."""
        for row, h_K in zip(rows, h_BK, strict=True):
            number, row_of_file = divmod(row, self.files[0].sentences)
            self.files[number].write_sentence(row_of_file, h_K)

    def layers(self) -> LayersOfFiles:
        """As `Rows`; they can be read while the files have no name yet."""
        return LayersOfFiles(self.files)


def layout(kept: Kept, sentences: int) -> tuple[bytes, dict[str, int], int]:
    """The header with its length, where the numbers of each tensor begin, and the size of the file."""
    shapes: dict[str, tuple[str, list[int]]] = {TOKENS: ("I64", [sentences])}
    shapes |= {layer_name(layer): ("F32", [sentences, width]) for layer, width in enumerate(kept.widths)}
    sizes = [BYTES[dtype] * torch.Size(shape).numel() for dtype, shape in shapes.values()]
    ends = list(accumulate(sizes))
    told: dict[str, Any] = {"__metadata__": facts_of(kept)}
    for (name, (dtype, shape)), size, end in zip(shapes.items(), sizes, ends, strict=True):
        told[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end - size, end]}
    header = json.dumps(told).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)  # the numbers begin where a number may
    before = LENGTH_BYTES + len(header)
    begin = {name: before + end - size for name, size, end in zip(shapes, sizes, ends, strict=True)}
    return len(header).to_bytes(LENGTH_BYTES, "little") + header, begin, before + ends[-1]


def facts_of(kept: Kept) -> dict[str, str]:
    """What a header says beside the shapes."""
    return {"pool": kept.pool, "num_parameters": str(kept.num_parameters), "experts": json.dumps(kept.experts)}


def told_by(descriptor: int) -> tuple[Kept, int, dict[str, int]]:
    """What is kept of how many sentences, and where, by the header of a file.

    Raises `ValueError`, `KeyError`, `IndexError` or `TypeError` for a file that has not the `layout` of what its header says.
    """
    length = int.from_bytes(os.pread(descriptor, LENGTH_BYTES, 0), "little")
    written = os.pread(descriptor, min(length, LONGEST_HEADER), LENGTH_BYTES)
    told = json.loads(written)
    facts, sentences = told["__metadata__"], told[TOKENS]["shape"][0]
    widths = [told[layer_name(layer)]["shape"][1] for layer in range(len(told) - len(("__metadata__", TOKENS)))]
    experts = [Experts(*of_layer) for of_layer in json.loads(facts["experts"])]
    kept = Kept(facts["pool"], widths, int(facts["num_parameters"]), experts)
    header, begin, size = layout(kept, sentences)
    if header[LENGTH_BYTES:] != written or os.fstat(descriptor).st_size != size:
        raise ValueError("the numbers are not where its header says")
    return kept, sentences, begin


def layer_name(layer: int) -> str:
    """The name of the activations of a layer in a file."""
    return f"h_{layer}_SN"


def reserve(descriptor: int, size: int) -> None:
    """Make a file so large. Raises `OSError` where the disk has no room, on systems that can be asked: macOS cannot."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def return_freed_memory() -> None:
    """Give the system back what is not used any more: Linux keeps it for this process in pieces that fit little else.

    With measures of wide layers they were seen to take a gigabyte. Elsewhere nothing is done.
    """
    with suppress(AttributeError, OSError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def bytes_of(values: Tensor) -> memoryview:
    """The memory of contiguous numbers, byte by byte; there may be none, as of the experts of a layer without."""
    return values.numpy().reshape(-1).view(np.uint8).data


def write(descriptor: int, content: bytes | memoryview, place: int) -> None:
    """Write all of some bytes at a place."""
    while content:
        written = os.pwrite(descriptor, content, place)
        content, place = content[written:], place + written


def read_into(descriptor: int, values: Tensor, place: int) -> None:
    """Read contiguous numbers from a place. Raises `OSError` where the file ends before."""
    buffer = bytes_of(values)
    while buffer:
        found = os.preadv(descriptor, [buffer], place)
        if not found:
            raise OSError("a file of activations has become shorter than it was")
        buffer, place = buffer[found:], place + found
