"""Weights in fewer bits than they were trained in: quantized while they are loaded, or before they were published."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig, FineGrainedFP8Config, Mxfp4Config

from lf_experiments.config.schema import Dtype, ModelConfig, Quantization
from lf_experiments.errors import InputError
from lf_experiments.models.files import config_values, is_gguf

log = logging.getLogger(__name__)

PACKAGES = {
    "aqlm": "'aqlm[gpu,cpu]'",
    "auto-round": "auto-round",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "eetq": "kernels",
    "fp_quant": "fp_quant",
    "gguf": "'lf_experiments[gguf]'",
    "gptq": "optimum gptqmodel",
    "higgs": "flute-kernel fast_hadamard_transform",
    "hqq": "hqq",
    "mxfp4": "kernels",
    "quanto": "optimum-quanto",
    "quark": "amd-quark",
    "spqr": "'spqr_quant[gpu]'",
    "torchao": "torchao",
    "vptq": "vptq",
}
"""By the method of a repository with quantized weights, the packages that read them."""


UNPACKED = {"fp8": FineGrainedFP8Config, "mxfp4": Mxfp4Config}
"""By the method of a repository with quantized experts, how transformers is told to restore them."""


def quantization(config: ModelConfig) -> dict[str, Any]:
    """The arguments for transformers that load weights in fewer bits; none where none are asked for."""
    if config.quantization is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise InputError(
            "model.quantization",
            config.quantization.name,
            "it needs bitsandbytes, which is not installed",
            "pip install 'lf_experiments[quantization]'",
        )
    log.warning("the weights are quantized (%s): activations are not quite the model's own", config.quantization.name)
    if config.quantization is Quantization.int8:
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    compute = torch.bfloat16 if config.dtype is Dtype.auto else getattr(torch, config.dtype.name)
    return {
        "quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)
    }


def refuse_missing_gguf_package(file: Path) -> None:
    """Raise `InputError` for a GGUF file where the package that reads it is not installed."""
    if find_spec("gguf") is None:
        problem = "a GGUF file is read with the package gguf, which is not installed"
        raise InputError("model.path", file, problem, "pip install 'lf_experiments[gguf]'")


def stored_quantization(folder: Path) -> str | None:
    """The method by which the weights in a folder were quantized before they were published (gptq, fp8, gguf ...), or None."""
    if is_gguf(folder):
        return "gguf"
    settings = config_values(folder).get("quantization_config")
    if settings is None:
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if not isinstance(method, str):
        problem = "config.json has a quantization_config that names no method (quant_method)"
        raise InputError("model.path", folder, problem, "use the config.json that was published with the weights")
    return method


def unpacked_experts(method: str | None, is_mixture: bool) -> dict[str, Any]:
    """The arguments for transformers that restore quantized experts to 16 bits: packed, their neurons could not be seen."""
    if not is_mixture or method not in UNPACKED:
        return {}
    return {"quantization_config": UNPACKED[method](dequantize=True)}


@contextmanager
def named_packages(method: str | None, folder: Path) -> Iterator[None]:
    """Inside the block a package that loading misses is an `InputError` that says how to install it.

    `method` is what `stored_quantization` returns; a method is warned of.
    """
    if method:
        log.warning("the weights were published quantized (%s): activations are not quite those of the whole model", method)
    try:
        yield
    except ImportError as error:
        needs = f"its weights are quantized with {method}, which" if method else "it"
        problem = f"{needs} needs a package that is not installed, or a newer one: {' '.join(str(error).split())}"
        remedy = f"pip install {PACKAGES[method]}" if method in PACKAGES else "install that package"
        raise InputError("model.path", folder, problem, remedy) from error
