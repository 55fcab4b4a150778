"""The processes that follow a leader: what they are told, what they do and answer, and where they come from.

Messages travel by value over connections, so that processes need no memory in common, and the death of one is noticed.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

from lf_experiments.config import InputError, ModelConfig
from lf_experiments.models.load import Results, load_reader

log = logging.getLogger(__name__)

SECONDS_TO_END = 10


@dataclass(frozen=True)
class Load:
    """An order: read with this model from now on."""

    folder: Path
    config: ModelConfig
    gpus: list[int]


@dataclass(frozen=True)
class Read:
    """An order: read these items."""

    read: Callable[..., Results]
    items: list[Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Found:
    """An answer: what was found for one item."""

    position: int
    result: Any


@dataclass(frozen=True)
class Done:
    """The last answer to an order that was carried out, with what was warned of meanwhile."""

    warnings: list[str]


@dataclass(frozen=True)
class Failed:
    """The last answer to an order that could not be carried out."""

    error: InputError | None
    traceback: str


@dataclass(frozen=True)
class Follower:
    """Another process, as the leader sees it."""

    number: int
    """From 1; the leader is 0."""
    connection: Connection
    process: BaseProcess | None = None
    """None where a launcher has started it."""

    def answers(self) -> Results:
        """What it finds, until its order is carried out. Raises its error, and `RuntimeError` where it has died."""
        while True:
            match self.answer():
                case Found(position, result):
                    yield position, result
                case Done(warnings):
                    for warning in warnings:
                        log.warning("process %d: %s", self.number, warning)
                    return
                case Failed(error, text):
                    raise error or RuntimeError(f"process {self.number} failed:\n{text}")

    def answer(self) -> Found | Done | Failed:
        """Its next answer."""
        try:
            return received(self.connection)
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(f"process {self.number} died{self.exit_text()}; what it said is above") from error

    def finish(self) -> None:
        """Wait until its order is carried out. Raises as `answers`."""
        for _ in self.answers():
            pass

    def end(self) -> None:
        """End a process that was started here."""
        if self.process:
            self.connection.close()
            self.process.join(SECONDS_TO_END)
            self.process.kill()

    def exit_text(self) -> str:
        if self.process is None:
            return ""
        self.process.join(SECONDS_TO_END)
        return f" with exit code {self.process.exitcode}"


# What a follower does -------------------------------------------------------------------------------------------------


def follow(leader: Connection, processes: int) -> None:
    """Carry out the orders of the leader, one of `processes`, until it closes the connection."""
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    warnings = WarningList()
    logging.getLogger("lf_experiments").addHandler(warnings)
    reader = None
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        while True:
            order = received(leader)
            try:
                if isinstance(order, Load):
                    reader = None  # the old model goes before the new one comes
                    gc.collect()
                    reader = load_reader(order.folder, order.config, order.gpus)
                else:
                    for position, result in list(order.read(reader, order.items, *order.arguments)):
                        send(leader, Found(position, result))
                send(leader, Done(warnings.taken()))
            except InputError as error:
                send(leader, Failed(error, ""))
            except Exception:
                send(leader, Failed(None, traceback.format_exc()))


class WarningList(logging.Handler):
    """Collects what is warned of, for the leader's record."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def taken(self) -> list[str]:
        """What was collected since the last time."""
        taken, self.messages = self.messages, []
        return taken


def send(connection: Connection, message: object) -> None:
    connection.send_bytes(pickle.dumps(message))


def received(connection: Connection) -> Any:
    return pickle.loads(connection.recv_bytes())


# Where followers come from --------------------------------------------------------------------------------------------


def started_followers(count: int) -> list[Follower]:
    """New processes, which end when their connection closes."""
    spawn = multiprocessing.get_context("spawn")
    followers = []
    for number in range(1, count + 1):
        here, there = spawn.Pipe()
        process = spawn.Process(target=follow, args=(there, count + 1), daemon=True)
        process.start()
        there.close()
        followers.append(Follower(number, here, process))
    return followers


def launched_processes() -> int:
    """How many processes `accelerate launch` or `torchrun` has started, this one included; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@cache
def launched_followers() -> list[Follower]:
    """The processes that a launcher has started beside this one; they stay for as long as it lasts."""
    count = launched_processes() - 1
    if not count:
        return []
    secret = os.urandom(32)
    with Listener((os.environ["MASTER_ADDR"], 0), backlog=count, authkey=secret) as listener:
        told_by_leader((listener.address, secret))
        connections = [listener.accept() for _ in range(count)]
    return [Follower(received(connection), connection) for connection in connections]


def dismiss_launched() -> None:
    """Let the other processes of a launcher end with this one, whether or not they were ever needed."""
    for follower in launched_followers():
        follower.connection.close()


def follow_launched() -> None:
    """What a process of a launcher does that is not the leader."""
    address, secret = told_by_leader(None)
    with Client(address, authkey=secret) as leader:
        send(leader, int(os.environ["RANK"]))
        follow(leader, launched_processes())


def told_by_leader(message: Any) -> Any:
    """What the process of rank 0 tells all others, through the address that the launcher has agreed on with them."""
    distributed.init_process_group("gloo")
    told = [message]
    distributed.broadcast_object_list(told, src=0)
    distributed.destroy_process_group()
    return told[0]
