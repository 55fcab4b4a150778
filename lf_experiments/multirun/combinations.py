"""All combinations of the values that overrides give to their keys."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hydra.core.override_parser.types import Override

from lf_experiments.errors import InputError


def combinations(overrides: Iterable[Override]) -> list[tuple[str, ...]]:
    """One `key=value` per key in each combination; of a key that is given twice the last counts."""
    choices = {override.get_key_element(): values(override) for override in overrides}
    return list(product(*choices.values()))


def values(override: Override) -> list[str]:
    """`key=value` for each value of an override. Raises `InputError` for an interval, which has no list of values."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise InputError(key, override.get_value_string(), "an interval has no list of values", "give values, or range(1,9)")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]
