"""What the harness is asked, and how it reads."""

from __future__ import annotations

from typing import NamedTuple

UNDER = "under"
"""The key of a document with the number of the intervention that it is read under, where each has its own."""


class Reading(NamedTuple):
    """How the harness reads."""

    batch_tokens: int
    chunked: bool
    """As `head_can_be_chunked` says."""
    shared: bool = False
    """Whether the model reads once what several continuations begin with, as `beginnings_can_be_shared` says."""
    rows: int = 1
    """Texts that are continued at once, where a task asks for that."""


class Request(NamedTuple):
    """A continuation in its context, as `losses.Tokens`."""

    ids: list[int]
    given: int
