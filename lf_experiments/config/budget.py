"""The budget of a probe: how many neurons a region has, apart from how its method scores them."""

from __future__ import annotations

from dataclasses import dataclass

from lf_experiments.errors import InputError


@dataclass(frozen=True)
class Budget:
    """What `probe.budget` says; without a share and without a method it is the threshold."""

    share: float | None = None
    """The share of all neurons that every region has."""
    method: str | None = None
    """The method whose regions say how many neurons each language has."""


def budget_of(text: str) -> Budget:
    """`threshold`, `top:<share>` or `as:<method>`. Raises `InputError` for anything else."""
    kind, _, value = text.partition(":")
    if text == "threshold":
        return Budget()
    if kind == "as" and value:
        return Budget(method=value)
    if kind == "top" and (share := as_share(value)) is not None:
        return Budget(share=share)
    raise InputError(
        "probe.budget",
        text,
        "it is none of threshold, top:<share> with a share between 0 and 1, and as:<method>",
        "give probe.budget=top:0.01 for 1 % of all neurons, or as:zscore for as many as that method finds",
    )


def as_share(text: str) -> float | None:
    """A number above 0 and at most 1; None for anything else."""
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None
