"""A team: several processes that read with one model.

This process leads: it runs the study, reads a share itself and writes the results. The others are its workers (`workers.py`).
The model has copies, each of which reads a share of the items (data parallelism). A copy is one process, or several that share
its layers and read the same (`shards.py`): the processes 0 to n - 1 are the first copy, and so on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from lf_experiments.config.schema import ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.devices import equal_shares
from lf_experiments.models.launched import connect_launched_workers, launched_processes, leading_host
from lf_experiments.models.load import Reader, Results, load_reader, read_architecture
from lf_experiments.models.messages import Found, Load, Read, Stop
from lf_experiments.models.shards import Parted, ShardPlace, leave, meeting_place
from lf_experiments.models.tensor_plans import refuse_unshardable
from lf_experiments.models.workers import Worker, start_workers


@dataclass(frozen=True, kw_only=True)
class Team(Reader):
    """This process and its workers, which read with the same model."""

    workers: list[Worker]
    threads: int
    """Threads of this process before it shared the cores."""
    meeting: TCPStore | None = None
    """Where the processes that share layers find each other, as long as there is a team of such."""

    @property
    def copies(self) -> int:
        """As `Reader.copies`."""
        return (1 + len(self.workers)) // self.processes_of_copy

    @property
    def processes_of_copy(self) -> int:
        """How many processes share the layers of a copy."""
        return self.shards.count if self.shards else 1

    def share(self, read: Callable[..., Results], items: list[Any], *arguments: Any) -> Results:
        """As `Reader.share`, with each copy reading every n-th item.

        `read` is a function of a module. Raises the first error of any process, as soon as it is known here and the others have
        ended the batch they are reading; a worker that dies is noticed after the next result of this process. The processes of
        a copy end together.
        """
        copies, each, reading = self.copies, self.processes_of_copy, []
        try:
            for worker in self.workers:
                worker.tell(Read(read, items[worker.number // each :: copies], arguments))
                reading.append(worker)
            with closing(super().share(read, items[::copies], *arguments)) as own:
                for position, result in own:
                    yield position * copies, result
                    yield from arrived(reading, each, copies, timeout=0)
            while reading:
                yield from arrived(reading, each, copies)
        except Parted as parted:
            reading.clear()
            raise cause(parted, self.workers) from parted
        except RuntimeError as error:  # of a process that noticed that another was gone, or of that
            helpful = most_helpful([error, *stop(reading)])
            if helpful is error:
                raise
            raise helpful from error
        except KeyboardInterrupt:
            if self.shards:  # the others wait for this process, and do not hear that they are interrupted
                reading.clear()
                for worker in self.workers:
                    worker.kill()
            raise
        finally:
            stop(reading)

    def end(self) -> None:
        """Let go of the workers that were started here; those of a launcher wait for the next model."""
        for worker in self.workers:
            worker.end()
        leave()
        torch.set_num_threads(self.threads)


def arrived(reading: list[Worker], each: int, copies: int, timeout: float | None = None) -> Results:
    """Yields a result from every worker that has sent one, after at most `timeout` seconds of waiting for the first.

    `reading` are the workers of a team that are still reading; those that have ended are taken out. The team has so many copies
    of the model, `each` of so many processes.
    """
    by_connection: dict[Any, Worker] = {worker.connection: worker for worker in reading}
    for connection in wait(list(by_connection), timeout):
        worker = by_connection[connection]
        reading.remove(worker)
        answer = worker.answer()
        if isinstance(answer, Found):
            reading.append(worker)
            yield answer.position * copies + worker.number // each, answer.result


def stop(reading: list[Worker]) -> list[Exception]:
    """End the reading of these workers after the batch they are at, so that the next order finds them free.

    They are taken out of the list. Returns the errors that any of them had meanwhile.
    """
    found: list[Exception] = []
    for worker in reading:
        with suppress(RuntimeError):
            worker.tell(Stop())
    while reading:
        try:
            reading.pop().finish()
        except (InputError, RuntimeError) as error:
            found.append(error)
    return found


def most_helpful(errors: list[Exception]) -> Exception:
    """Of the errors of several processes the one to raise: the first that a user can mend, or else the first."""
    return next((error for error in errors if isinstance(error, InputError)), errors[0])


def cause(parted: Parted, workers: list[Worker]) -> Exception:
    """The error to raise where this process has parted from those it shares layers with: what a user can mend comes first.

    The workers are ended. One of them may have failed before this process, which then noticed no more than that it was gone.
    """
    found = [error for worker in workers if (error := worker.last_words())]
    leave()
    return most_helpful([*found, parted.error])


def assemble_team(folder: Path, config: ModelConfig, num_processes: int, tensor_parallel: int = 1) -> Reader:
    """Load the model in `folder` in this process alone, or in a team: `num_processes` copies, or as many as a launcher started.

    Each copy has `tensor_parallel` processes, which share its layers. All load at once. Raises `InputError` for a number of
    processes that cannot be had, for a model that cannot be loaded, and for one whose layers cannot be shared.
    """
    leave()
    gpus = shares_of_gpus(num_processes, tensor_parallel)
    if tensor_parallel > 1:
        refuse_unshardable(read_architecture(folder, config), tensor_parallel, folder)
    workers = connect_launched_workers() or start_workers(len(gpus) - 1)
    if not workers:
        return load_reader(folder, config)
    meeting = meeting_place(leading_host()) if tensor_parallel > 1 else None
    places = [place_of(number, tensor_parallel, meeting) for number in range(len(gpus))]
    for worker in workers:
        worker.tell(Load(folder, config, gpus[worker.number], places[worker.number]))
    threads, waiting = torch.get_num_threads(), list(workers)
    torch.set_num_threads(max(1, threads // len(gpus)))
    try:
        reader = load_reader(folder, config, gpus[0], places[0])
    except Parted as parted:
        waiting.clear()
        raise cause(parted, workers) from parted
    finally:
        for worker in waiting:
            worker.finish()
    return Team(**vars(reader), workers=workers, threads=threads, meeting=meeting)


def place_of(number: int, tensor_parallel: int, meeting: TCPStore | None) -> ShardPlace | None:
    """The place of a process among those that share the layers of its copy; None where none do."""
    if meeting is None:
        return None
    copy, number = divmod(number, tensor_parallel)
    return ShardPlace(number, tensor_parallel, copy, meeting.host, meeting.port)


def shares_of_gpus(num_processes: int, tensor_parallel: int = 1) -> list[list[int]]:
    """The GPUs of each process, an equal share of those of its machine; none where there are none.

    Raises `InputError` where a launcher has started another number of processes than was asked for, and where there are fewer
    GPUs than processes.
    """
    launched = launched_processes()
    if launched > 1 and launched % tensor_parallel:
        raise InputError(
            "runtime.tensor_parallel",
            tensor_parallel,
            f"the launcher has started {launched} processes, which are not whole copies of the model",
            "let it start a multiple of that",
        )
    if launched > 1 and num_processes not in (1, launched // tensor_parallel):
        raise InputError(
            "runtime.num_processes",
            num_processes,
            f"the launcher has started {launched} processes",
            "leave runtime.num_processes out, or start without a launcher",
        )
    processes = max(launched, num_processes * tensor_parallel)
    on_machine = int(os.environ.get("LOCAL_WORLD_SIZE", processes)) if launched > 1 else processes
    shares = equal_shares(list(range(torch.cuda.device_count())), on_machine, shards=tensor_parallel)
    return [shares[number % on_machine] for number in range(processes)]
