"""What a checkpoint is made of, as names of the content of its files: two with equal names give equal results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lf_experiments.models.files import (
    CODE_FILES,
    PICKLES_INDEX,
    SAFETENSORS_INDEX,
    TOKENIZER_FILES,
    config_values,
    matching_files,
    weight_files,
    weight_map,
)
from lf_experiments.storage import file_digest, files_fingerprint, fingerprint

NO_MATTER = frozenset({"transformers_version", "_name_or_path"})
"""What config.json says of where it comes from, and of no number."""


def weight_fingerprint(folder: Path, digest_of: Callable[[Path], bytes] = file_digest) -> str:
    """A name of the weights in a checkpoint folder, made of the content of their files; equal for duplicated checkpoints.

    Pickles that lie beside safetensors are not read, here and in loading. `digest_of` is `DigestStore.digest` where large files
    should not be read each time.
    """
    return files_fingerprint(weight_files(folder), digest_of)


def configuration_fingerprint(folder: Path, trust_remote_code: bool) -> str:
    """A name of everything else that a model's numbers depend on: config.json, the indices of its weights, its trusted code."""
    values = {key: value for key, value in config_values(folder).items() if key not in NO_MATTER}
    indices = [weight_map(folder, index) for index in (SAFETENSORS_INDEX, PICKLES_INDEX)]
    code = files_fingerprint(sorted(folder.rglob(CODE_FILES[0]))) if trust_remote_code else None
    return fingerprint([values, indices, code])


def tokenizer_fingerprint(folder: Path) -> str:
    """A name of the tokenizer in a folder, made of the content of its files."""
    return files_fingerprint(matching_files(folder, TOKENIZER_FILES))
