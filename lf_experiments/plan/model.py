"""The model of a plan: all its modules and no weights, from what is on this machine or from its shape."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from lf_experiments.config import Config, Dtype, InputError, ModelConfig
from lf_experiments.models.checkpoints import (
    PICKLES,
    SAFETENSORS,
    TOKENIZER_FILES,
    checkpoint_folder,
    grown_folder,
    hub_revision,
    matching_files,
)
from lf_experiments.models.families import neuron_sites, refuse_hidden_neurons
from lf_experiments.models.load import Reader, context_of, load_tokenizer, refuse_foreign_tokenizer
from lf_experiments.models.nano.growth import training_sentences, untrained_model
from lf_experiments.models.nano.tokenizer import trained_tokenizer
from lf_experiments.models.shapes import empty_model, shape_config

TOKEN_BYTES = 4
"""UTF-8 bytes that are assumed of a token where the tokenizer is not on this machine."""


class AssumedTokenizer:
    """Stands in for a tokenizer that is not on this machine: as many tokens as a text has groups of `TOKEN_BYTES` bytes."""

    def __call__(self, texts: str | list[str], **_: Any) -> dict[str, Any]:
        """`input_ids` and `offset_mapping` of a text, or lists of them for several."""
        if isinstance(texts, list):
            return {"input_ids": [self(text)["input_ids"] for text in texts]}
        tokens = math.ceil(len(texts.encode()) / TOKEN_BYTES)
        return {"input_ids": [0] * tokens, "offset_mapping": [(token * len(texts) // tokens, 0) for token in range(tokens)]}


@dataclass(frozen=True)
class PlannedModel:
    """A model as far as it is known without loading it."""

    reader: Reader
    """It has no weights, and the tokenizer only where that is on this machine."""
    stored_bytes: int
    """Bytes of a weight as it is stored."""
    stored_note: str
    """Which number format that is, and whether it is known."""
    is_here: bool
    """Whether its weights are on this machine."""

    @property
    def has_tokenizer(self) -> bool:
        """Whether tokens can be counted; otherwise they are assumed."""
        return not isinstance(self.reader.tokenizer, AssumedTokenizer)

    @property
    def tokens_note(self) -> str:
        """How the tokens of a text are known."""
        return "counted" if self.has_tokenizer else f"{TOKEN_BYTES} bytes a token (assumed)"

    def bytes_per_weight(self, dtype: Dtype) -> int:
        """Bytes of a weight once it is loaded with `model.dtype`."""
        return self.stored_bytes if dtype is Dtype.auto else getattr(torch, dtype.value).itemsize


def planned_model(config: Config) -> PlannedModel:
    """The configured model at the configured step, from this machine alone.

    Raises `InputError` for a model whose configuration is neither here nor known, and for one that could not be read with.
    """
    if config.model.recipe:
        return planned_growth(config)
    folder = checkpoint_folder(config) if config.model.path else cached_weights(config)
    architecture = architecture_of(config)
    refuse_hidden_neurons(architecture.get_text_config())
    reader = reader_of(config.model, empty_model(architecture), tokenizer_here(config.model))
    return PlannedModel(reader, *stored(architecture, folder, reader.num_parameters), folder is not None)


def planned_growth(config: Config) -> PlannedModel:
    """A model that is grown, or to be grown, with the tokenizer that it is given."""
    model, recipe = config.model, config.model.recipe
    tokenizer = trained_tokenizer(training_sentences(), recipe.vocabulary, recipe.window)
    with torch.device("meta"):
        empty = untrained_model(recipe, tokenizer)
    other = load_tokenizer(Path(model.tokenizer).expanduser(), model.trust_remote_code) if model.tokenizer else None
    is_grown = grown_folder(model.name, recipe, config.cache_folder).is_dir()
    return PlannedModel(reader_of(model, empty, other or tokenizer), 4, "float32", is_grown)


def reader_of(config: ModelConfig, empty: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> Reader:
    """What the model and its tokenizer would be loaded as."""
    if tokenizer:
        refuse_foreign_tokenizer(tokenizer, empty, config)
    else:
        tokenizer = AssumedTokenizer()
    return Reader(empty, tokenizer, neuron_sites(empty), config.add_special_tokens, config.context or context_of(empty))


def architecture_of(config: Config) -> PretrainedConfig:
    """The configuration of the model: that of its folder, that in the hub cache, or the one its shape gives."""
    model = config.model
    place = hub_revision(model.hub, config.checkpoint.step) if model.hub else ()
    folder = cached(*place, "config.json") if model.hub else checkpoint_folder(config)
    if folder:
        return AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code, local_files_only=True)
    if model.shape:
        return shape_config(model.shape)
    raise InputError(
        "model.shape",
        "null",
        f"nothing on this machine says what {'@'.join(place)} is made of, and a plan downloads nothing",
        "give model.shape, as conf/model/bloom-7b1.yaml does, or download its config.json",
    )


def tokenizer_here(model: ModelConfig) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a model that is not grown, or None where it is not on this machine."""
    if model.tokenizer or model.path:
        return load_tokenizer(Path(model.tokenizer or model.path).expanduser(), model.trust_remote_code)
    repository = model.hub.tokenizer_repository or model.hub.repository
    revision = model.hub.revision if repository == model.hub.repository else "main"
    folder = cached(repository, revision, *TOKENIZER_FILES)
    return load_tokenizer(folder, model.trust_remote_code) if folder else None


def cached_weights(config: Config) -> Path | None:
    """The snapshot in the hub cache with all weights of the configured step, or None."""
    place = hub_revision(config.model.hub, config.checkpoint.step)
    for weights, index in ((SAFETENSORS, "model.safetensors.index.json"), (PICKLES, "pytorch_model.bin.index.json")):
        folder = cached(*place, *weights)
        if folder and has_all_parts(folder, index):
            return folder
    return None


def has_all_parts(folder: Path, index: str) -> bool:
    """Whether the files are there that an index names; weights in one file have none."""
    if not (folder / index).is_file():
        return True
    return all((folder / part).is_file() for part in json.loads((folder / index).read_text())["weight_map"].values())


def cached(repository: str, revision: str, *patterns: str) -> Path | None:
    """The snapshot in the hub cache with all files of a repository that match, at least one, or None; no network is used."""
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns), local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
    return folder if matching_files(folder, patterns) else None


def stored(architecture: PretrainedConfig, folder: Path | None, parameters: int) -> tuple[int, str]:
    """Bytes of a stored weight, and how that is known."""
    if architecture.dtype:
        return architecture.dtype.itemsize, str(architecture.dtype).removeprefix("torch.")
    if folder:
        files = matching_files(folder, SAFETENSORS) or matching_files(folder, PICKLES)
        size = sum(path.stat().st_size for path in files)
        return (4, "32 bits, by the size of its files") if size > 3 * parameters else (2, "16 bits, by the size of its files")
    return 2, "16 bits, assumed"
