"""Shards: the processes that share each layer of one copy of the model, and how they stay in step (tensor parallelism).

Within a forward pass they give each other what each has computed. So all of them read the same batches at the same time: one
that reads a batch of its own would wait for the others for ever.

Shapes are written as suffixes: B sequences, N neurons of a layer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate.utils import patch_environment
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, distributed
from torch.nn.functional import pad

from lf_experiments.errors import InputError

PATIENCE = timedelta(minutes=30)
"""How long a shard waits for another, which may still be loading its part from a slow disk, before it gives up."""


@dataclass(frozen=True)
class ShardPlace:
    """Where a process finds the other shards of its copy of the model."""

    number: int
    """From 0; the first one answers for its copy."""
    count: int
    copy: int
    """The number of the copy, from 0."""
    host: str
    """Of the leader of the team, where all its processes meet."""
    port: int


class Parted(Exception):
    """A shard has failed in the middle of its work, and the others cannot go on without it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = explained(error)
        """The error to show; an `InputError` where a user can help."""


@contextmanager
def parting(shards: Shards | None) -> Iterator[None]:
    """Inside the block any error of one of several shards is `Parted`; without them errors are what they are."""
    try:
        yield
    except Exception as error:
        if shards is None:
            raise
        raise Parted(error) from error


@contextmanager
def on_own_gpu(gpus: list[int] | None) -> Iterator[None]:
    """Inside the block transformers shares a model with the first of these GPUs as this process's own, if there are any."""
    with patch_environment(LOCAL_RANK=gpus[0]) if gpus else nullcontext():
        yield


def explained(error: Exception) -> Exception:
    """Out of memory as an `InputError`; every other error as it is."""
    if not should_reduce_batch_size(error):
        return error
    return InputError(
        "runtime.batch_tokens",
        f"(as given; {error})",
        "a batch does not fit into memory, and processes that share the layers of a model cannot halve it by themselves",
        "give a smaller runtime.batch_tokens, or a larger runtime.tensor_parallel",
    )


@dataclass(frozen=True)
class Shards:
    """The processes that share a copy of the model, as one of them sees them."""

    number: int
    """Which of them this process is, from 0."""
    count: int
    words: Any
    """The group of processes in which they agree, on the host; they compute in torch's default group."""

    @property
    def leads(self) -> bool:
        """Whether the others do what this process does."""
        return self.number == 0

    def in_step(self, results: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Yields the results one by one; where the first shard stops, or is stopped, before the last one, all do.

        Raises `Parted` for any error but an `InputError`, which all shards raise alike: they read the same.
        """
        with closing(results):
            while True:
                try:
                    result = next(results)
                except StopIteration:
                    return
                except InputError:
                    raise
                except Exception as error:
                    raise Parted(error) from error
                goes_on = False
                try:
                    yield result
                    goes_on = True
                finally:
                    goes_on = self.agreed(goes_on)
                if not goes_on:
                    return

    def agreed(self, goes_on: bool) -> bool:
        """What the first shard says, whatever the others do. Raises `Parted` where it, or one of them, is gone."""
        word = torch.tensor(goes_on)
        try:
            distributed.broadcast(word, src=0, group=self.words)
        except RuntimeError as error:
            raise Parted(error) from error
        return bool(word)

    def part(self, width: int) -> slice:
        """Which of `width` neurons this process has: equal parts in the order of the shards, the last ones smaller."""
        most = -(-width // self.count)
        return slice(min(width, self.number * most), min(width, (self.number + 1) * most))

    def gathered(self, part_BN: Tensor, width: int) -> Tensor:
        """All `width` columns, in every process, of which each has its `part`."""
        most = -(-width // self.count)
        mine_BN = pad(part_BN, (0, most - part_BN.shape[-1])).contiguous()
        parts = [torch.empty_like(mine_BN) for _ in range(self.count)]
        distributed.all_gather(parts, mine_BN)
        return torch.cat(parts, dim=-1)[..., :width]

    def summed(self, of_each: Tensor) -> Tensor:
        """The sum over all processes, in every process."""
        distributed.all_reduce(of_each)
        return of_each


JOINED: list[Shards] = []
"""The shards that this process is one of: once or not at all, as torch has one default group of processes."""


def are_in_step() -> bool:
    """Whether this process shares layers with others, which have to read the same batches."""
    return bool(JOINED)


def join(place: ShardPlace, gpus: list[int]) -> Shards:
    """Wait until all shards of a copy are there. On GPUs, one of its own for each, they compute through NCCL, else gloo."""
    leave()
    device = torch.device("cuda", gpus[0]) if gpus else torch.device("cpu")
    store = distributed.TCPStore(place.host, place.port, timeout=PATIENCE)
    distributed.init_process_group(
        distributed.get_default_backend_for_device(device),
        store=distributed.PrefixStore(f"copy {place.copy}", store),
        rank=place.number,
        world_size=place.count,
        timeout=PATIENCE,
        device_id=device if gpus else None,
    )
    shards = Shards(place.number, place.count, distributed.new_group(backend="gloo", timeout=PATIENCE))
    JOINED.append(shards)
    return shards


def leave() -> None:
    """Be no shard any more; without effect in a process that is none."""
    if JOINED:
        JOINED.clear()
        distributed.destroy_process_group()


def meeting_place(host: str) -> distributed.TCPStore:
    """Where the shards of all copies find each other, in this process, for as long as it is kept."""
    return distributed.TCPStore(host, 0, is_master=True, wait_for_workers=False)
