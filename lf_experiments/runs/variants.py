"""The variants of a sweep: in what its runs differ beside the model and the checkpoint, so that each is a line of its own."""

from __future__ import annotations

from typing import Any

import pandas as pd

SEED_OF_TRAINING = "model.recipe.seed"
"""The key that trainings of a grown model differ in; models that are not grown have none."""
CHANGE_SCORES = (
    "seed",
    "language_set",
    "dataset",
    "text",
    "cloze",
    "probe",
    "intervention",
    "model.dtype",
    "model.quantization",
    "model.special_tokens",
    "model.add_special_tokens",
    SEED_OF_TRAINING,
)
"""The groups and keys of the configuration that change the scores of the same weights; any other key leaves lines whole."""
DESCRIPTIONS = ("licence", "source", "regions")
"""Keys of these groups that say more about a corpus whose name says enough, or that no score depends on."""


def variant_texts(configs: list[dict[str, Any]]) -> list[str]:
    """For each configuration, `key=value` of all keys that change scores and in which the configurations differ.

    The folder of a corpus is named only where its name does not tell. An empty configuration, of a run that cannot be
    read, differs in nothing.
    """
    values = pd.DataFrame([flat(config) for config in configs], dtype=object)
    told = values[[bool(config) for config in configs]]
    differing = [key for key in values if changes_scores(key) and differs(told[key])]
    keys = [key for key in differing if not (key.endswith(".root") and key.replace(".root", ".name") in differing)]
    rows = values[keys].to_dict("records")
    return [", ".join(f"{key}={value}" for key, value in row.items() if value is not None and value == value) for row in rows]


def differs(values: pd.Series) -> bool:
    """Whether configurations differ in a key; the seed of a training only where there are several trainings."""
    told = values.dropna() if values.name == SEED_OF_TRAINING else values
    return told.map(str).nunique() > 1


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A nested configuration with dotted keys."""
    return pd.json_normalize(config).to_dict("records")[0] if config else {}


def changes_scores(key: str) -> bool:
    """Whether runs that differ in a key belong to different lines."""
    is_one = any(key == part or key.startswith(f"{part}.") for part in CHANGE_SCORES)
    return is_one and key.rpartition(".")[2] not in DESCRIPTIONS
