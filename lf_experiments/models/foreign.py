"""Errors of the libraries that read a model's files, translated: what is wrong with the files, and what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers
from accelerate.utils.memory import should_reduce_batch_size

from lf_experiments.errors import InputError
from lf_experiments.models.files import json_problem

CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"contains custom code|requires you to execute",
        "it needs Python code of its own, which is run only where it is trusted",
        "read that code, and give model.trust_remote_code=true if you trust it; or choose another model",
    ),
    (
        r"does not recognize this architecture",
        f"transformers {transformers.__version__} does not know the architecture that config.json names",
        "choose another model, or a newer transformers if it knows this one",
    ),
    (
        r"Should have a `model_type` key",
        "config.json does not name the architecture (model_type)",
        "use the config.json that was published with the weights",
    ),
    (
        r"ignore_mismatched_sizes",
        "its weights have other shapes than config.json says",
        "use the config.json that was published with the weights",
    ),
    (
        r"Couldn't instantiate the backend tokenizer",
        "the vocabulary of its tokenizer is missing, or in a format that needs a package which is not installed",
        "add tokenizer.json, or pip install sentencepiece tiktoken protobuf; or give model.tokenizer=FOLDER",
    ),
    (
        r"Weights only load failed",
        "it cannot be loaded: Weights only load failed: a pickle holds more than weights, perhaps code, which is never run",
        "take the model from a source that has safetensors",
    ),
)
"""What the error says, what it means, and the remedy."""

READABLE = (OSError, ValueError, RuntimeError, ImportError)
"""Errors whose text says enough without their kind."""


@contextmanager
def explained_errors(key: str, folder: Path) -> Iterator[None]:
    """Inside the block every error of a library becomes an `InputError` of `key`, which names the folder that was read."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the libraries raise whatever a damaged file leads to
        raise InputError(key, folder, *explanation(error, folder)) from error


def explanation(error: Exception, folder: Path) -> tuple[str, str]:
    """The problem and the remedy that an error of a library stands for, when it read the files of `folder`."""
    for path in sorted(folder.glob("*.json")):
        problem = json_problem(path)
        if problem:
            return f"{path.name} is damaged: {problem}", "download it again"
    if should_reduce_batch_size(error) or isinstance(error, MemoryError):
        return "it does not fit into memory", "use model.dtype=bfloat16, model.quantization=nf4 or model.device_map=auto"
    for pattern, problem, remedy in CAUSES:
        if re.search(pattern, str(error)):
            return problem, remedy
    return f"it cannot be loaded: {in_short(error)}", (
        "compare config.json and the other files with those that were published, or download them again"
    )


def in_short(error: Exception) -> str:
    """What an error says, on one line of at most 300 characters; with its kind where the text alone says little."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    readable = text and (isinstance(error, READABLE) or len(text) > 60)
    text = text if readable else f"{type(error).__name__}: {text}"
    return text if len(text) <= 300 else f"{text[:297]}..."
