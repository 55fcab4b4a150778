"""Keys that are gone, with what to write instead."""

from __future__ import annotations

from typing import Any

from lf_experiments.errors import InputError

RETIRED = {
    "model.add_special_tokens": "write model.special_tokens=model (the default: every text begins as the model's own tokenizer "
    "begins one), or model.special_tokens=none (as the authors' code reads it)",
}


def refuse_retired_arguments(arguments: list[str]) -> None:
    """Raise `InputError` for a command line that sets a retired key, with or without `+`."""
    for argument in arguments:
        key, is_override, value = argument.lstrip("+~").partition("=")
        if is_override:
            refuse_retired(key, value)


def refuse_retired(key: str, value: Any) -> None:
    """Raise `InputError` if a key that was given a value is retired."""
    if key in RETIRED and value is not None:
        raise InputError(key, value, "this key is gone", RETIRED[key])
