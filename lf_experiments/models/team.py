"""The team that reads with one model: several processes, each with its share of the sentences (data parallelism).

This process leads: it runs the study and writes the results. The others follow: they load the same model on their own devices,
read what they are given and send back what they found (`followers.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lf_experiments.config import InputError, ModelConfig
from lf_experiments.models.followers import (
    Follower,
    Load,
    Read,
    launched_followers,
    launched_processes,
    send,
    started_followers,
)
from lf_experiments.models.load import Reader, Results, load_reader


@dataclass(frozen=True)
class Team(Reader):
    """This process and its followers, which read with the same model."""

    followers: list[Follower]
    threads: int
    """Threads of this process before it shared the cores."""

    def share(self, read: Callable[..., Results], items: list[Any], *arguments: Any) -> Results:
        """What `read(reader, items, *arguments)` yields, with each process reading every n-th item.

        `read` is a function of a module. Raises what any of the processes raises, once no other is still reading.
        """
        size = 1 + len(self.followers)
        for follower in self.followers:
            send(follower.connection, Read(read, items[follower.number :: size], arguments))
        reading = list(self.followers)
        try:
            for position, result in read(self, items[::size], *arguments):
                yield position * size, result
            while reading:
                follower = reading.pop(0)
                for position, result in follower.answers():
                    yield position * size + follower.number, result
        except Exception:
            for follower in reading:
                with suppress(InputError, RuntimeError):  # one error is enough
                    follower.finish()
            raise

    def end(self) -> None:
        """Let go of the followers that were started here; those of a launcher wait for the next model."""
        for follower in self.followers:
            follower.end()
        torch.set_num_threads(self.threads)


def assembled(folder: Path, config: ModelConfig, num_processes: int) -> Reader:
    """The model in `folder`, read by this process alone or by a team of as many as asked for or launched. All load at once.

    Raises `InputError` for a number of processes that cannot be had, and for a model that cannot be loaded.
    """
    gpus = shares_of_gpus(num_processes)
    followers = launched_followers() or started_followers(num_processes - 1)
    if not followers:
        return load_reader(folder, config)
    for follower in followers:
        send(follower.connection, Load(folder, config, gpus[follower.number]))
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // len(gpus)))
    try:
        reader = load_reader(folder, config, gpus[0])
    finally:
        for follower in followers:
            follower.finish()
    return Team(**vars(reader), followers=followers, threads=threads)


def shares_of_gpus(num_processes: int) -> list[list[int]]:
    """The GPUs of each process, an equal share of those of its machine; none where there are none.

    Raises `InputError` where a launcher has started another number of processes than was asked for, and where there are fewer
    GPUs than processes.
    """
    launched = launched_processes()
    if launched > 1 and num_processes not in (1, launched):
        raise InputError(
            "runtime.num_processes",
            num_processes,
            f"the launcher has started {launched} processes",
            "leave runtime.num_processes out, or start without a launcher",
        )
    processes = max(launched, num_processes)
    on_machine = int(os.environ.get("LOCAL_WORLD_SIZE", processes)) if launched > 1 else processes
    gpus = torch.cuda.device_count()
    if 0 < gpus < on_machine:
        raise InputError(
            "runtime.num_processes", on_machine, f"there are only {gpus} GPUs here", f"ask for {gpus} processes or fewer"
        )
    share = gpus // on_machine
    firsts = [number % on_machine * share for number in range(processes)]
    return [list(range(first, first + share)) for first in firsts]
