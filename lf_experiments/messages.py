"""What the command says of an error that the user can mend: by its kind, one line per kind."""

from __future__ import annotations

from collections.abc import Callable

from lf_experiments.errors import InputError
from lf_experiments.storage import DISK_REFUSALS

DISK_REMEDY = "Remedy: make room, or choose other folders with hydra.run.dir=FOLDER and cache.dir=FOLDER; then run again."


def of_disk(error: OSError) -> str | None:
    """A disk that takes no more; None for any other error of the operating system."""
    return f"{error}\n{DISK_REMEDY}" if error.errno in DISK_REFUSALS else None


MESSAGES: dict[type[Exception], Callable[..., str | None]] = {
    InputError: str,
    OSError: of_disk,
}
"""{kind of error: its message, or None where the user can do nothing}. The first kind that fits and has a message counts."""


def message_to_user(error: Exception) -> str | None:
    """The message for an error the user can fix, or None."""
    for kind, message in MESSAGES.items():
        if isinstance(error, kind) and (text := message(error)):
            return f"error: {text}"
    return None
