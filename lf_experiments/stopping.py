"""Ctrl-C and SIGTERM, which schedulers send before they kill: the run ends in order, and its record says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Somebody has stopped the program by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"by {signal.Signals(number).name}; the same command goes on")
        self.status = 128 + number
        """The exit status: 130 after Ctrl-C, 143 after SIGTERM."""
        self.command = "the same command"
        """The command that goes on with the run."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside the block Ctrl-C and SIGTERM raise `Stopped`, unless the parent has switched the signal off, as nohup does."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {number: handler for number, handler in earlier.items() if handler is not signal.SIG_IGN}
    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
