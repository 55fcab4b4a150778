"""Warnings that the package logs, handed on: a run keeps those that were logged while it lasted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def warnings_handed_to(keep: Callable[[str], None]) -> Iterator[None]:
    """Inside the block `keep` is given the text of every warning that the package logs."""
    handler = Handing(keep)
    logging.getLogger("lf_experiments").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("lf_experiments").removeHandler(handler)


class Handing(logging.Handler):
    """Gives the text of each warning to a function."""

    def __init__(self, keep: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one warning."""
        self.keep(record.getMessage())
