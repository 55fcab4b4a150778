"""How the inputs of two runs differ, in the words of the configuration: `model.dtype auto -> bfloat16`."""

from __future__ import annotations

from typing import Any

from lf_experiments.runs.record import SCHEMA_VERSION, Record

NO_INPUTS = ("stages", "tracking", "runtime", "cache", "plan", "hardware", "overwrite")
"""Groups and keys that no result depends on."""

DESCRIPTIONS = ("licence", "family", "shape")
"""Keys that only describe a model or a corpus."""

FACTS = {
    "the weights": ("model", "weight_fingerprint", ("model", "checkpoint")),
    "the configuration of the model": ("model", "configuration_fingerprint", ("model",)),
    "the tokenizer": ("model", "tokenizer_fingerprint", ("model",)),
    "the end tokens of generation_config.json": ("model", "end_tokens", ("model",)),
    "the sentences": ("data", "dataset", ("dataset", "language_set", "seed")),
    "the text": ("data", "text", ("text", "language_set")),
    "the stories": ("data", "cloze", ("cloze", "language_set")),
}
"""What a run has read: where its record says which, and the groups that decide it. If none of these differs, the files do."""

LONGEST = 60
"""Characters of a value that are shown."""
MOST = 6
"""Differences that are listed."""


def differences(old: Record, new: Record) -> str:
    """What the results of two runs depend on and differ in: configuration keys, then files with other content."""
    if old["schema_version"] < SCHEMA_VERSION:
        return "an earlier version of lf_experiments made them"
    keys = differing_keys(old["config"], new["config"])
    groups = {key.partition(".")[0] for key in keys}
    files = [
        f"{what} changed"
        for what, (part, name, decided_by) in FACTS.items()
        if not groups & set(decided_by) and changed(known(old, part, name), known(new, part, name))
    ]
    found = [*keys.values(), *files] or ["another version of lf_experiments made them"]
    return ", ".join(found[:MOST]) + (f" and {len(found) - MOST} more" if len(found) > MOST else "")


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """{key: `key old -> new`}; of a group whose name differs, only the name."""
    before, after = flat(old), flat(new)
    keys = [key for key in dict.fromkeys([*after, *before]) if before.get(key) != after.get(key) and is_input(key)]
    renamed = [key.removesuffix("name") for key in keys if key.count(".") == 1 and key.endswith(".name")]
    shown = [key for key in keys if not key.startswith(tuple(renamed)) or key.removesuffix("name") in renamed]
    return {key: f"{key} {text(before.get(key))} -> {text(after.get(key))}" for key in shown}


def is_input(key: str) -> bool:
    """Whether results depend on a configuration key."""
    group, *others = key.split(".")
    return group not in NO_INPUTS and not set(others) & set(DESCRIPTIONS)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted key: value} of a nested configuration."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return values


def known(record: Record, part: str, name: str) -> Any:
    """The fingerprint of something a run has read, or what it is; None where it did not read it."""
    found = record.get(part, {}).get(name)
    return found["fingerprint"] if isinstance(found, dict) else found


def changed(before: Any, after: Any) -> bool:
    """Whether both runs have read something, and not the same."""
    return None not in (before, after) and before != after


def text(value: Any) -> str:
    """A value as it is typed on the command line, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    written = f"[{','.join(map(text, value))}]" if isinstance(value, list) else str(value)
    return written if len(written) <= LONGEST else f"{written[: LONGEST - 3]}..."
