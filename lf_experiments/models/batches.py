"""Batches of token sequences for a forward pass: filled by a token budget, padded on the right, halved when memory ends.

Shapes are written as suffixes: B sequences of a batch, T tokens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lf_experiments.config import InputError

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def rows_by_budget(lengths: list[int], batch_tokens: int, batch_rows: int | None = None) -> list[list[int]]:
    """The positions of the sequences in groups of similar length, longest first; each group padded has at most `batch_tokens`.

    A sequence longer than the budget is a group of its own. No group has more than `batch_rows` sequences, where that is given.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        fits = groups and len(groups[-1]) != batch_rows and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= batch_tokens
        if fits:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def padded(sequences: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (B, T) each. Padding is on the right, where no real token of a causal model sees it."""
    ids_BT = pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True)
    length_B = torch.tensor([len(sequence) for sequence in sequences])
    mask_BT = (torch.arange(ids_BT.shape[1]) < length_B[:, None]).long()
    return ids_BT.to(device), mask_BT.to(device)


def each_group(groups: list[list[int]], compute: Callable[[list[int]], Result]) -> Iterator[tuple[list[int], Result]]:
    """Yields each group of rows with what `compute` makes of it; after an out-of-memory the groups still to do are halved.

    Raises `InputError` when a single row does not fit.
    """
    pending = deque(groups)
    while pending:
        rows = pending.popleft()
        try:
            result = compute(rows)
        except Exception as error:
            if not should_reduce_batch_size(error):
                raise
            if len(rows) == 1:
                raise InputError(
                    "runtime.batch_tokens",
                    f"(tried down to one sequence; {error})",
                    "not even one sequence fits into memory",
                    "use model.dtype=bfloat16, a larger device, or model.device_map=auto",
                ) from error
        else:
            yield rows, result
            continue
        log.warning("Out of memory with %d sequences in a batch: going on with half as many.", len(rows))
        clear_device_cache(garbage_collection=True)  # only here has the failed pass let go of its tensors
        pending = deque(half for group in (rows, *pending) for half in halves(group))


def halves(rows: list[int]) -> list[list[int]]:
    """Two groups for one, or the one again where it holds a single row."""
    middle = (len(rows) + 1) // 2
    return [part for part in (rows[:middle], rows[middle:]) if part]
