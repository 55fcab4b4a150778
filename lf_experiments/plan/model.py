"""The model of a plan: all its modules and no weights, from what is on this machine or from its shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from lf_experiments.config.schema import Config, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.checkpoints import fetch_checkpoint, grown_folder, hub_revision, tokenizer_revision
from lf_experiments.models.families import neuron_sites
from lf_experiments.models.files import TOKENIZER_FILES, WEIGHT_FILES, matching_files, weight_files
from lf_experiments.models.load import Reader, context_of, load_tokenizer, read_architecture
from lf_experiments.models.nano.growth import training_sentences, untrained_model
from lf_experiments.models.nano.tokenizer import trained_tokenizer
from lf_experiments.models.number_format import format_of_weights, loaded_format
from lf_experiments.models.shapes import empty_model, shape_config
from lf_experiments.models.special_tokens import text_prefix
from lf_experiments.models.verification import refuse_foreign_tokenizer
from lf_experiments.plan.hardware import gpu_sizes

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
    bytes_per_weight: int
    """Bytes of a weight once it is loaded."""
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


def planned_model(config: Config) -> PlannedModel:
    """The configured model at the configured step, from this machine alone.

    Raises `InputError` for a model whose configuration is neither here nor known, and for one that could not be read with.
    """
    if config.model.recipe:
        return planned_growth(config)
    folder = fetch_checkpoint(config) if config.model.path else cached_weights(config)
    architecture = architecture_of(config)
    reader = reader_of(config.model, empty_model(architecture), tokenizer_here(config.model))
    stored, size, note = stored_format(architecture, folder, reader.num_parameters)
    loaded = loaded_bytes(config, stored, size, hasattr(architecture, "quantization_config"))
    return PlannedModel(reader, size, note, loaded, folder is not None)


def planned_growth(config: Config) -> PlannedModel:
    """A model that is grown, or to be grown, with the tokenizer that it is given."""
    model, recipe = config.model, config.model.recipe
    tokenizer = trained_tokenizer(training_sentences(), recipe.vocabulary, recipe.window)
    with torch.device("meta"):
        empty = untrained_model(recipe, tokenizer)
    other = load_tokenizer(Path(model.tokenizer).expanduser(), model.trust_remote_code) if model.tokenizer else None
    is_grown = grown_folder(model.name, recipe, config.cache_folder).is_dir()
    loaded = loaded_bytes(config, "float32", 4, False)
    return PlannedModel(reader_of(model, empty, other or tokenizer), 4, "float32", loaded, is_grown)


def reader_of(config: ModelConfig, empty: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> Reader:
    """What the model and its tokenizer would be loaded as."""
    if tokenizer:
        refuse_foreign_tokenizer(tokenizer, empty, config)
    else:
        tokenizer = AssumedTokenizer()
    prefix = text_prefix(tokenizer, config.special_tokens)
    return Reader(empty, tokenizer, neuron_sites(empty), prefix, config.context or context_of(empty))


def architecture_of(config: Config) -> PretrainedConfig:
    """The configuration of the model: that of its folder, that in the hub cache, or the one its shape gives."""
    model = config.model
    place = hub_revision(model.hub, config.checkpoint.step) if model.hub else ()
    folder = cached(*place, "config.json") if model.hub else fetch_checkpoint(config)
    if folder:
        return read_architecture(folder, model)
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
    folder = cached(*tokenizer_revision(model.hub), *TOKENIZER_FILES)
    return load_tokenizer(folder, model.trust_remote_code) if folder else None


def cached_weights(config: Config) -> Path | None:
    """The snapshot in the hub cache with all weights of the configured step, or None."""
    folder = cached(*hub_revision(config.model.hub, config.checkpoint.step), *WEIGHT_FILES)
    try:
        return folder if folder and weight_files(folder) else None
    except InputError:  # parts are missing
        return None


def cached(repository: str, revision: str, *patterns: str) -> Path | None:
    """The snapshot in the hub cache with all files of a repository that match, at least one, or None; no network is used."""
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns), local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
    return folder if matching_files(folder, patterns) else None


def stored_format(architecture: PretrainedConfig, folder: Path | None, parameters: int) -> tuple[str, int, str]:
    """The number format of the weights, `auto` where only loading can tell; bytes of a weight; how that is known."""
    name = str(architecture.dtype).removeprefix("torch.") if architecture.dtype else folder and format_of_weights(folder)
    if name and name != "auto":
        return name, getattr(torch, name).itemsize, name
    if folder:
        size = 4 if sum(path.stat().st_size for path in weight_files(folder)) > 3 * parameters else 2
        return "auto", size, f"{8 * size} bits, by the size of its files"
    return "bfloat16", 2, "16 bits, assumed"


def loaded_bytes(config: Config, stored: str, size: int, is_quantized: bool) -> int:
    """Bytes of a weight once it is loaded, on the GPUs planned for or on this machine; stored it has `size`."""
    planned = config.hardware.gpus
    loaded = loaded_format(stored, config.model, is_quantized, list(range(len(gpu_sizes(planned)))) if planned else None)
    return size if loaded == stored else getattr(torch, loaded).itemsize
