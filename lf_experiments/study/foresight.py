"""Whose results a folder holds, as far as that is known before a model is downloaded or grown."""

from __future__ import annotations

from typing import Any

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.runs.differences import flat
from lf_experiments.runs.record import Record
from lf_experiments.storage import fingerprint

DECISIVE = (
    "model.hub.repository",
    "model.hub.revision",
    "model.hub.checkpoint_repository",
    "model.hub.checkpoint_revision",
    "model.special_tokens",
    "checkpoint.step",
)
"""Keys of which two values are two models, whatever the weights turn out to be. Where one is null they may be the same."""

ANOTHER = "another model"
"""In place of a fingerprint: that of no model."""


def foreseen(earlier: Record, new: Record, model: ModelConfig) -> dict[str, str]:
    """The fingerprints that a model which nobody has fetched yet will have if it is the one of an earlier record.

    Where the configuration says that it is another one, `ANOTHER`: then no stage can have the same inputs.
    """
    facts = earlier["model"]
    is_other = differ(flat(earlier["config"]), flat(new["config"])) or model.dtype not in (Dtype.auto, Dtype(facts["dtype"]))
    return {"model": ANOTHER if is_other else facts["fingerprint"], "ends": fingerprint(facts["end_tokens"])}


def differ(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether two configurations, {dotted key: value}, are certain to be of different models."""
    pairs = [(old.get(key), new.get(key)) for key in DECISIVE]
    grown = [(old.get(key), new[key]) for key in new if key.startswith("model.recipe.") and key != "model.recipe.steps"]
    both_given = any(None not in pair and pair[0] != pair[1] for pair in [*pairs, *grown])
    return both_given or old.get("model.quantization") != new.get("model.quantization")
