"""What the leader of a team tells its workers, and what they answer: values, sent pickled over connections.

The processes share no memory, and a connection whose other end has died says so.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lf_experiments.config.schema import ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.load import Results
from lf_experiments.models.shards import ShardPlace


@dataclass(frozen=True)
class Load:
    """An order: load this model in place of the last one."""

    folder: Path
    config: ModelConfig
    gpus: list[int]
    place: ShardPlace | None
    """Among the processes that share the layers of a copy of the model, where there are such."""


@dataclass(frozen=True)
class Read:
    """An order: read these items."""

    read: Callable[..., Results]
    items: list[Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Stop:
    """An order: end the reading that is going on. It has no answer of its own."""


@dataclass(frozen=True)
class Found:
    """An answer: the result for one item."""

    position: int
    result: Any


@dataclass(frozen=True)
class Done:
    """The last answer to an order that was carried out, with the warnings logged meanwhile."""

    warnings: list[str]


@dataclass(frozen=True)
class Failed:
    """The last answer to an order that could not be carried out."""

    error: InputError | None
    """None for any other error, which only its traceback describes."""
    traceback: str


def send(connection: Connection, message: object) -> None:
    """Send a message. Raises `OSError` if nobody is at the other end."""
    connection.send_bytes(pickle.dumps(message))


def receive(connection: Connection) -> Any:
    """Wait for the next message. Raises `EOFError` or `OSError` if nobody is at the other end."""
    return pickle.loads(connection.recv_bytes())
