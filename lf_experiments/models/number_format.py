"""The number format that a model's weights are loaded in: the stored one, unless the processor would be slow with it."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.devices import format_to_compute_with, is_on_processor, placement, processor_features
from lf_experiments.models.files import config_values, is_gguf, weight_files
from lf_experiments.models.quantized import stored_quantization

log = logging.getLogger(__name__)

STORED_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""What safetensors calls the formats."""


def number_format(folder: Path, config: ModelConfig, gpus: list[int] | None = None) -> str:
    """The number format that the weights in `folder` are loaded in, as torch names it; `auto` where only loading can tell.

    Raises `InputError` for a format that weights cannot be in.
    """
    if config.dtype is not Dtype.auto:
        return config.dtype.value
    return loaded_format(stored_format(folder), config, stored_quantization(folder) is not None, gpus)


def loaded_format(stored: str, config: ModelConfig, is_quantized: bool, gpus: list[int] | None = None) -> str:
    """The number format that weights stored as `stored` are loaded in; `is_quantized` where they are stored quantized.

    With `model.dtype=auto` it is the stored one, and float32 where the weights are for a processor without units for that.
    """
    if config.dtype is not Dtype.auto:
        return config.dtype.value
    if config.quantization or is_quantized or not is_on_processor(placement(config, gpus)["device_map"], gpus):
        return stored
    return format_to_compute_with(stored, processor_features())


def stored_format(folder: Path) -> str:
    """The number format of the weights in a folder: that of config.json, else that of a file of weights; else `auto`."""
    values = config_values(folder)
    name = values.get("dtype") or values.get("torch_dtype")
    if name is None:
        return format_of_weights(folder)
    name = str(name).removeprefix("torch.")
    kind = getattr(torch, name, None)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point or kind.itemsize < 2:
        problem = f"config.json gives {name} as the number format of the weights (dtype), in which nothing can be computed"
        raise InputError("model.path", folder, problem, "correct config.json, or choose another model")
    return name


def format_of_weights(folder: Path) -> str:
    """The number format of the first weight that safetensors hold; `auto` for pickles, which only loading reads.

    The weights of a GGUF file are float32: transformers restores them from the blocks that they are stored in.
    """
    if is_gguf(folder):
        return "float32"
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                kinds = [STORED_NAMES.get(file.get_slice(name).get_dtype()) for name in file.keys()]  # noqa: SIM118
        except SafetensorError:
            continue
        return next((kind for kind in kinds if kind), "auto")
    return "auto"


def say_other_format(folder: Path, config: ModelConfig, chosen: str) -> None:
    """Log that the weights are loaded in another format than they are stored in, where nobody asked for it."""
    if config.dtype is Dtype.auto and chosen != stored_format(folder):
        stored = stored_format(folder)
        log.info(
            "weights stored in %s are loaded in %s, faster on this processor (model.dtype=%s keeps them)",
            stored,
            chosen,
            stored,
        )
