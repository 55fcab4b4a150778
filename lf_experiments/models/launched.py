"""Workers that `accelerate launch` or `torchrun` has started, and how the process of rank 0, the leader, connects to them."""

from __future__ import annotations

import os
from functools import cache
from multiprocessing.connection import Client, Listener
from typing import Any

from torch import distributed

from lf_experiments.models.messages import receive, send
from lf_experiments.models.workers import Worker, work


def launched_processes() -> int:
    """How many processes a launcher has started, this one included; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leading_host() -> str:
    """Where the other processes find this one, the leader."""
    return os.environ["MASTER_ADDR"] if launched_processes() > 1 else "127.0.0.1"


@cache
def connect_launched_workers() -> list[Worker]:
    """Wait for the other processes of a launcher; they stay for as long as this one. None without a launcher."""
    count = launched_processes() - 1
    if not count:
        return []
    secret = os.urandom(32)
    with Listener((os.environ["MASTER_ADDR"], 0), backlog=count, authkey=secret) as listener:
        broadcast((listener.address, secret))
        connections = [listener.accept() for _ in range(count)]
    return [Worker(receive(connection), connection) for connection in connections]


def dismiss_launched_workers() -> None:
    """Let the other processes of a launcher end with this one, whether or not they were ever needed."""
    for worker in connect_launched_workers():
        worker.connection.close()


def work_for_leader() -> None:
    """The whole life of a process of a launcher that is not the leader."""
    address, secret = broadcast(None)
    with Client(address, authkey=secret) as leader:
        send(leader, int(os.environ["RANK"]))
        work(leader, launched_processes())


def broadcast(message: Any) -> Any:
    """Send a message from the process of rank 0 to all others, through the address that the launcher has given to all."""
    distributed.init_process_group("gloo")
    received = [message]
    distributed.broadcast_object_list(received, src=0)
    distributed.destroy_process_group()
    return received[0]
