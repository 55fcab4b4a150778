"""What a stage costs, and the shape of a run that its cost follows from. Copies of tensors were measured on tiny models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from lf_experiments.config.schema import RuntimeConfig
from lf_experiments.evaluations.losses import CHUNK_LOGITS
from lf_experiments.evaluations.matrix import SIDE_BY_SIDE, neighbours
from lf_experiments.models.batches import rows_by_budget
from lf_experiments.models.families import experts_per_token
from lf_experiments.models.load import Reader
from lf_experiments.study.operations import Batch, ReadOn, forward_operations

Item = TypeVar("Item")

FLOAT32, FLOAT64 = 4, 8

LOGIT_COPIES = 3
"""Tensors of the logits of a chunk: as they are, in float32, and as log-probabilities."""
NEURON_COPIES, BLOOM_NEURON_COPIES = 4, 7
"""Tensors as wide as the neurons that a forward pass holds at once; BLOOM's GELU is written out where weights have fewer bits
than 32 (`families.join_operations`)."""
RESIDUAL_COPIES = 6
"""Tensors as wide as the residual stream that it holds."""
SCORE_BYTES = 20
"""What eager attention takes for every pair of positions in every head: its scores, and what it makes of them."""


@dataclass(frozen=True)
class Amount:
    """Bytes of something, and what they are."""

    name: str
    bytes: int
    note: str = ""


@dataclass(frozen=True)
class Work:
    """What a stage computes with the model."""

    operations: int | None
    """Floating-point operations; None where they are not known."""
    note: str
    tokens: int = 0
    """Tokens of its batches, padding included, read once."""


@dataclass(frozen=True)
class Cost:
    """What a stage takes, in bytes unless it says otherwise."""

    work: Work | None = None
    """None where the stage does not read with the model."""
    device: int = 0
    """Memory beside the weights, where they are."""
    host: int = 0
    """Memory of the host, beside the activations and `device`."""
    host_note: str = "a batch"
    after_batches: bool = True
    """Whether the memory of batches, which is not all given back, comes on top of `host`."""
    folder: list[Amount] = field(default_factory=list)
    """Files in the run folder."""
    cache: list[Amount] = field(default_factory=list)
    """Files in the cache."""


@dataclass(frozen=True)
class RunShape:
    """The shape of a run: the sizes of its model and of its texts, as far as they are known before it."""

    reader: Reader
    """It has no weights."""
    bytes_per_weight: int
    pools: list[str]
    """What is kept of every neuron (`neurons/pooling.py`)."""
    runtime: RuntimeConfig
    texts: dict[str, dict[str, list[int]]]
    """Tokens of every sequence by language, empty where they are not known: of sentences (`dataset`), which are assumed then,
    of windows (`text`), of stories with their one ending and with their other (`cloze`), and of these endings (`endings`)."""

    @property
    def languages(self) -> list[str]:
        """Language codes, in map order."""
        return list(self.texts["dataset"])

    @property
    def num_sentences(self) -> int:
        """Sentences of all languages."""
        return sum(map(len, self.texts["dataset"].values()))

    @property
    def activations(self) -> int:
        """Bytes of the activations of all sentences, as one pool keeps them."""
        return self.num_sentences * self.reader.num_neurons * FLOAT32

    def batch_memory(self, batches: list[Batch]) -> int:
        """Bytes that the largest of some batches takes while a layer computes it."""
        return max((batch_bytes(self.reader, batch, self.bytes_per_weight) for batch in batches), default=0)

    def judging_memory(self, batches: list[Batch]) -> int:
        """The same where tokens are predicted: at least the logits of a chunk; of full batches where none is known."""
        tokens = max((rows * length for rows, length in batches), default=self.runtime.batch_tokens)
        logits = min(CHUNK_LOGITS, tokens * self.reader.model.config.get_text_config().vocab_size)
        return max(LOGIT_COPIES * logits * FLOAT32, self.batch_memory(batches))


class Branches(NamedTuple):
    """A beginning and its continuations, in tokens."""

    beginning: int
    continuations: tuple[int, ...]


def batches(lengths: list[int], runtime: RuntimeConfig, batch_rows: int | None = None) -> list[Batch]:
    """The batches in which sequences are read by processes that each take every n-th; none has more than `batch_rows`."""
    groups = [
        (share, rows) for share in shares(lengths, runtime) for rows in rows_by_budget(share, runtime.batch_tokens, batch_rows)
    ]
    return [(len(rows), share[rows[0]]) for share, rows in groups]


def together(by_language: Iterable[list[int]], passes: int, runtime: RuntimeConfig) -> list[Batch]:
    """The batches in which sequences are read under so many interventions, side by side as `read_cells` has them."""
    groups = side_by_side(by_language, int, passes, runtime)
    return [batch for lengths in groups for batch in batches(lengths, runtime)]


def beginnings_together(
    by_language: Iterable[list[Branches]], passes: int, runtime: RuntimeConfig
) -> tuple[list[Batch], list[ReadOn]]:
    """The batches in which beginnings are read, and those in which their continuations are, as `beginnings.py` has them."""
    begun, read_on = [], []
    for items in side_by_side(by_language, whole, passes, runtime):
        for share in shares(items, runtime):
            for rows in rows_by_budget(list(map(whole, share)), runtime.batch_tokens):
                longest = max(share[row].beginning for row in rows)
                ends = [tokens - 1 for row in rows for tokens in share[row].continuations]
                begun.append((len(rows), longest))
                read_on.append((len(ends), max(ends), longest))
    return begun, read_on


def side_by_side(
    by_language: Iterable[list[Item]], size: Callable[[Item], int], passes: int, runtime: RuntimeConfig
) -> Iterator[list[Item]]:
    """The items that are read together under so many interventions, as `read_cells` has them; each has so many tokens."""
    cells = [items for _ in range(passes) for items in by_language]
    most = SIDE_BY_SIDE * runtime.batch_tokens * runtime.num_processes
    for group in neighbours([sum(map(size, items)) for items in cells], most):
        yield [item for cell in group for item in cells[cell]]


def shares(items: list[Item], runtime: RuntimeConfig) -> list[list[Item]]:
    """What each process reads: every n-th."""
    return [items[rank :: runtime.num_processes] for rank in range(runtime.num_processes)]


def whole(branches: Branches) -> int:
    """The tokens of all texts with a beginning."""
    return sum(branches.beginning + tokens for tokens in branches.continuations)


def batch_bytes(reader: Reader, batch: Batch, bytes_per_weight: int) -> int:
    """What a layer, the widest, holds while it computes a batch."""
    config = reader.model.config.get_text_config()
    rows, tokens = batch
    is_written_out = config.model_type == "bloom" and bytes_per_weight < FLOAT32
    neuron_copies = BLOOM_NEURON_COPIES if is_written_out else NEURON_COPIES
    wide = neuron_copies * max(neurons_per_token(reader)) + RESIDUAL_COPIES * config.hidden_size
    is_eager = reader.model.config._attn_implementation == "eager"
    scores = SCORE_BYTES * rows * tokens**2 * config.num_attention_heads if is_eager else 0
    return rows * tokens * wide * bytes_per_weight + scores


def neurons_per_token(reader: Reader) -> list[int]:
    """The neurons of each layer that are computed for a token: of routed experts, those that it is routed to."""
    if not reader.experts:
        return reader.widths
    chosen = experts_per_token(reader.model.config.get_text_config())
    not_chosen = [max(0, experts.number - chosen) * experts.width for experts in reader.experts]
    return [width - elsewhere for width, elsewhere in zip(reader.widths, not_chosen, strict=True)]


def reading_work(
    shape: RunShape, kind: str, read: list[Batch], passes: int, predicted: int, read_on: Sequence[ReadOn] = ()
) -> Work:
    """The work of reading texts of a kind so many times, in these batches; none are not known.

    The head is applied to `predicted` tokens each time.
    """
    model = shape.reader.model
    if not read:
        return Work(
            None, f"{10**6 * passes * forward_operations(model, [(1, 1)], 1):.1e} for every million tokens, read {passes} times"
        )
    times = f"{passes} times" + (": whole, without each region, random controls" if passes > 1 else "")
    tokens = sum(rows * tokens for rows, tokens, *_ in (*read, *read_on))
    operations = forward_operations(model, read, passes * predicted, read_on=read_on)
    return Work(operations, f"all {kind} {times}", tokens // passes)
