"""The one error for what a user can mend, and what a command ends with after it."""

from __future__ import annotations

import sys
from collections.abc import Callable

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


class InputError(Exception):
    """Something a user gave cannot be used. The message names the key, its value, what is wrong and the remedy."""

    def __init__(self, key: str, value: object, problem: str, remedy: str) -> None:
        super().__init__(f"{key}={value}: {problem}\nRemedy: {remedy}")
        self.parts = key, str(value), problem, remedy

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        return type(self), self.parts


def exit_status(act: Callable[[], int]) -> int:
    """What a command ends with: the status that `act` returns, 1 after an `InputError`, 130 after Ctrl-C; both say so."""
    try:
        return act()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command starts again", file=sys.stderr)
        return INTERRUPTED
