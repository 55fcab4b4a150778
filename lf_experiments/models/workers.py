"""Worker processes: each loads the same model as the leader, reads the items it is given, and sends results as they come.

A worker never outlives its leader: it ends when their connection closes, and at once when the leader is killed.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import time
import traceback
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread

import torch
from torch import multiprocessing

from lf_experiments.errors import InputError
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.models.messages import Done, Failed, Found, Load, Read, Stop, receive, send
from lf_experiments.models.shards import Parted, leave

log = logging.getLogger(__name__)

SECONDS_TO_END = 10
SECONDS_TO_SPEAK = 1


@dataclass(eq=False)
class Worker:
    """A worker, as the leader sees it."""

    number: int
    """From 1; the leader is 0."""
    connection: Connection
    process: BaseProcess | None = None
    """None for a process of a launcher."""
    error: InputError | RuntimeError | None = None
    """What it said when it failed at the order it was last given."""

    def tell(self, order: Load | Read | Stop) -> None:
        """Give it an order. Raises `RuntimeError` if it has died."""
        if not isinstance(order, Stop):
            self.error = None
        try:
            send(self.connection, order)
        except OSError as error:
            raise self.death() from error

    def answer(self) -> Found | Done:
        """Wait for its next answer; with the last one its warnings are logged here.

        Raises the error that ended its work, and `RuntimeError` if it has died.
        """
        try:
            answer = receive(self.connection)
        except (EOFError, OSError) as error:
            raise self.death() from error
        if isinstance(answer, Failed):
            self.error = answer.error or RuntimeError(f"process {self.number} failed:\n{answer.traceback}")
            raise self.error
        if isinstance(answer, Done):
            for warning in answer.warnings:
                log.warning("process %d: %s", self.number, warning)
        return answer

    def finish(self) -> None:
        """Wait until its order is carried out; results on the way are dropped. Raises as `answer`."""
        while not isinstance(self.answer(), Done):
            pass

    def last_words(self) -> InputError | RuntimeError | None:
        """The error that ended its work, where it has told it, tells it now, or is gone; the process is ended."""
        found, until = self.error, time.monotonic() + SECONDS_TO_SPEAK
        with suppress(OSError):  # its connection is closed
            while found is None and self.connection.poll(max(0.0, until - time.monotonic())) and time.monotonic() < until:
                try:
                    self.answer()
                except (InputError, RuntimeError) as error:
                    found = error
        self.kill()
        return found

    def kill(self) -> None:
        """End a process that was started here, whatever it does; one of a launcher ends when it next has something to say."""
        self.connection.close()
        if self.process:
            self.process.kill()

    def end(self) -> None:
        """End a process that was started here."""
        if self.process:
            self.connection.close()
            self.process.join(SECONDS_TO_END)
            self.process.kill()

    def death(self) -> RuntimeError:
        """The error to raise when it does not answer."""
        code = ""
        if self.process:
            self.process.join(SECONDS_TO_END)
            code = f" with exit code {self.process.exitcode}"
        return RuntimeError(f"process {self.number} died{code}; what it said is above")


def start_workers(count: int) -> list[Worker]:
    """Start new processes, which wait for orders."""
    spawn = multiprocessing.get_context("spawn")
    workers = []
    for number in range(1, count + 1):
        here, there = spawn.Pipe()
        process = spawn.Process(target=work, args=(there, count + 1), daemon=True)
        process.start()
        there.close()
        workers.append(Worker(number, here, process))
    return workers


# In the process of a worker -------------------------------------------------------------------------------------------


def work(leader: Connection, processes: int) -> None:
    """Carry out the orders of the leader, one of `processes`, until it closes the connection or dies."""
    end_with_parent()
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    warnings, outbox = WarningList(), Outbox(leader)
    reader: Reader | None = None
    logging.getLogger("lf_experiments").addHandler(warnings)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            order = receive(leader)
            if isinstance(order, Stop):  # the reading it was to end had ended
                continue
            try:
                if isinstance(order, Load):
                    reader = None  # the old model goes before the new one comes
                    leave()
                    gc.collect()
                    reader = load_reader(order.folder, order.config, order.gpus, order.place)
                elif reader is not None:
                    read_share(reader, order, leader, outbox)
                taken = warnings.taken()
                outbox.put(Done(taken if is_heard(reader) else []))
            except InputError as error:
                outbox.put(Failed(error, ""))
            except Parted as parted:  # those that wait for this process notice its end
                helpful = parted.error if isinstance(parted.error, InputError) else None
                outbox.put(Failed(helpful, traceback.format_exc()))
                outbox.end()
            except Exception:
                outbox.put(Failed(None, traceback.format_exc()))


def read_share(reader: Reader, order: Read, leader: Connection, outbox: Outbox) -> None:
    """Read the items of an order, until the leader says something: it can only want that to stop.

    Of the processes that share layers the first one listens and answers, and the others read on as long as it does.
    """
    with closing(reader.share(order.read, order.items, *order.arguments)) as results:
        for position, result in results:
            if not is_heard(reader):
                continue
            if leader.poll():
                return
            outbox.put(Found(position, result))


def is_heard(reader: Reader | None) -> bool:
    """Whether what this process says is not said by the first of those that share its layers."""
    return reader is None or reader.shards is None or reader.shards.leads


class Outbox:
    """Sends answers from a thread of its own, so that a leader that is reading itself keeps no worker waiting."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: SimpleQueue[bytes | None] = SimpleQueue()
        Thread(target=self.send_all, daemon=True).start()

    def put(self, message: Found | Done | Failed) -> None:
        """Send a message after those before it; it is pickled now."""
        self.messages.put(pickle.dumps(message))

    def end(self) -> None:
        """End the process once all is sent."""
        self.messages.put(None)
        while True:
            time.sleep(SECONDS_TO_END)

    def send_all(self) -> None:
        """Send what is put in, and end the process after the last message or when nobody is there to receive it."""
        with suppress(OSError):
            while (message := self.messages.get()) is not None:
                self.connection.send_bytes(message)
        os._exit(0)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, whatever is being computed and however that one ended."""
    parent = parent_process()
    if parent is not None:

        def end() -> None:
            parent.join()
            os._exit(1)

        Thread(target=end, daemon=True).start()


class WarningList(logging.Handler):
    """Collects warnings for the record that the leader keeps."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect one warning."""
        self.messages.append(record.getMessage())

    def taken(self) -> list[str]:
        """The warnings since the last time."""
        taken, self.messages = self.messages, []
        return taken
