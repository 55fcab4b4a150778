"""Batches of token sequences for a forward pass: filled by a token budget, padded on the right, halved when memory runs out.

Shapes are written as suffixes: B sequences of a batch, T tokens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lf_experiments.errors import InputError
from lf_experiments.models.shards import are_in_step

log = logging.getLogger(__name__)
Launched = TypeVar("Launched")
Result = TypeVar("Result")

LONG = 4
"""A sequence of more than so many times `batch_tokens` is named in a warning before it is read."""


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


def warn_of_long_sequences(kind: str, lengths: list[int], batch_tokens: int, name: Callable[[int], str]) -> None:
    """Log a warning that names the longest sequence if it has more than `LONG * batch_tokens` tokens.

    Memory for attention can grow with the square of the length, and a process that the system kills for it says nothing.
    `kind` is what the sequences are, as in "sentence"; `name(row)` describes one of them.
    """
    longest = max(range(len(lengths)), key=lengths.__getitem__, default=None)
    if longest is not None and lengths[longest] > LONG * batch_tokens:
        log.warning(
            "%s has %d tokens, the most of any %s and %.0f times runtime.batch_tokens=%d: it is read alone, and may need more "
            "memory than there is",
            name(longest),
            lengths[longest],
            kind,
            lengths[longest] / batch_tokens,
            batch_tokens,
        )


def padded(sequences: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (B, T) each. Padding is on the right, where no real token of a causal model sees it."""
    ids_BT = pad_sequence([torch.tensor(sequence, dtype=torch.long) for sequence in sequences], batch_first=True)
    length_B = torch.tensor([len(sequence) for sequence in sequences])
    mask_BT = (torch.arange(ids_BT.shape[1]) < length_B[:, None]).long()
    return ids_BT.to(device, non_blocking=True), mask_BT.to(device, non_blocking=True)


def padded_left(sequences: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """As `padded`, with the padding on the left: what is read on must follow the last token."""
    ids_BT, mask_BT = padded([sequence[::-1] for sequence in sequences], device)
    return ids_BT.flip(1), mask_BT.flip(1)


def each_group(
    groups: list[list[int]], launch: Callable[[list[int]], Launched], arrived: Callable[[list[int], Launched], Result]
) -> Iterator[tuple[list[int], Result]]:
    """Yields each group of rows with the result of `arrived(rows, launch(rows))`, in their order.

    `launch` starts the computation, `arrived` waits for what it gives; of a GPU that is asked for after the next group was
    launched, so that it always has something to do. After an out-of-memory the groups still to launch are halved. Raises
    `InputError` when a single row does not fit.
    """
    pending, under_way, ahead = deque(groups), deque[tuple[list[int], Launched]](), launched_ahead()
    while pending or under_way:
        if pending:
            rows = pending.popleft()
            fitted = attempt(launch, rows, len(rows))
            if not fitted:
                pending = deque(half for group in (rows, *pending) for half in halves(group))
                continue
            under_way.append((rows, fitted[0]))
        if len(under_way) > ahead or not pending:
            rows, launched = under_way.popleft()
            result = arrived(rows, launched)
            del launched
            yield rows, result
            del result  # it may be large, and has no business beside the next


def launched_ahead() -> int:
    """Groups that are launched before the results of another are read: none on a processor, which has nothing else to do."""
    return int(torch.cuda.is_available())


def at_once(_: list[int], result: Result) -> Result:
    """For `each_group`, of a computation that gives its result itself."""
    return result


def halved_until_it_fits(compute: Callable[[int], Result], rows: int) -> Result:
    """The result of `compute(rows)`, with half as many rows after each out-of-memory.

    For code that makes its own batches, of `rows` sequences. Raises `InputError` when a single row does not fit.
    """
    while not (fitted := attempt(compute, rows, rows)):
        rows //= 2
    return fitted[0]


def attempt(compute: Callable[[Any], Result], argument: Any, rows: int) -> tuple[Result] | None:
    """The result of `compute(argument)` alone in a tuple, or None if memory ran out, which is logged.

    Raises `InputError` if that was with a single one of `rows`, and the error itself in a process that shares layers with
    others, which cannot halve a batch by itself.
    """
    try:
        return (compute(argument),)
    except Exception as error:
        if are_in_step() or not should_reduce_batch_size(error):
            raise
        if rows == 1:
            raise InputError(
                "runtime.batch_tokens",
                f"(tried down to one sequence; {error})",
                "not even one sequence fits into memory",
                "use model.dtype=bfloat16, a larger device, or model.device_map=auto",
            ) from error
    log.warning("Out of memory with %d sequences in a batch: going on with half as many.", rows)
    clear_device_cache(garbage_collection=True)  # only here has the failed pass let go of its tensors
    return None


def halves(rows: list[int]) -> list[list[int]]:
    """Two groups for one, or the one again where it holds a single row."""
    middle = (len(rows) + 1) // 2
    return [part for part in (rows[:middle], rows[middle:]) if part]
