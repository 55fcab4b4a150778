"""Loading a model and its tokenizer from a folder in Hugging Face layout."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate.utils import get_max_memory
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lf_experiments.config import Dtype, InputError, ModelConfig, Quantization
from lf_experiments.models.checkpoints import TOKENIZER_FILES, WEIGHT_FILES, hub_tokenizer, matching_files
from lf_experiments.models.families import POSITION_TABLES, neuron_sites, neurons_per_layer, refuse_hidden_neurons

log = logging.getLogger(__name__)

os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
"""Nobody is asked to convert the weights of a repository that has only pickles: they are read as they are."""


Results = Iterator[tuple[int, Any]]
"""(position of an item, what was found for it), in any order."""


@dataclass(frozen=True)
class Reader:
    """A model ready to read: its weights in evaluation mode, its tokenizer and its neuron sites, one per layer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sites: list[nn.Module]
    add_special_tokens: bool
    context: int | None
    """Tokens the model was trained to read at once, where anything says so."""

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The token ids of each text, without padding."""
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=self.add_special_tokens, verbose=False)["input_ids"]

    def share(self, read: Callable[..., Results], items: list[Any], *arguments: Any) -> Results:
        """What `read(reader, items, *arguments)` yields; a team (`team.py`) reads the items together."""
        return read(self, items, *arguments)

    @property
    def reads_beyond_context(self) -> bool:
        """Whether more tokens than `context` can be read at all, well or not."""
        return self.model.config.get_text_config().model_type not in POSITION_TABLES

    @property
    def num_neurons_per_layer(self) -> int:
        """Neurons of one layer, N."""
        return neurons_per_layer(self.model.config.get_text_config())

    @property
    def num_neurons(self) -> int:
        """Neurons of all layers, K."""
        return len(self.sites) * self.num_neurons_per_layer

    @property
    def num_parameters(self) -> int:
        """Parameters of the model, tied ones counted once."""
        return self.model.num_parameters()


def load_reader(folder: Path, config: ModelConfig, gpus: list[int] | None = None) -> Reader:
    """Load what `folder` holds, as `config` says, onto the GPUs given; by default onto all of this machine.

    No code from the folder is run unless `config.trust_remote_code`. Raises `InputError` for a folder without weights or
    tokenizer, or with an architecture whose neurons cannot be found.
    """
    tokenizer = load_tokenizer(tokenizer_folder(folder, config), config.trust_remote_code)
    model = load_model(folder, config, gpus)
    refuse_foreign_tokenizer(tokenizer, model, config)
    context = config.context or context_of(model)
    return Reader(model, tokenizer, neuron_sites(model), config.add_special_tokens, context)


def tokenizer_folder(folder: Path, config: ModelConfig) -> Path:
    """The folder of the tokenizer: the model's own unless the configuration names another.

    A model of the hub has one tokenizer for all its training steps; it is downloaded where it is not yet.
    """
    if config.tokenizer:
        return Path(config.tokenizer).expanduser()
    return hub_tokenizer(config) if config.hub else folder


def load_model(folder: Path, config: ModelConfig, gpus: list[int] | None = None) -> PreTrainedModel:
    if not matching_files(folder, WEIGHT_FILES):
        raise InputError("model.path", folder, "it has no weights", f"put one of {', '.join(WEIGHT_FILES)} into it")
    hub_arguments = {"trust_remote_code": config.trust_remote_code, "local_files_only": True}
    try:
        architecture = AutoConfig.from_pretrained(folder, **hub_arguments)
        refuse_hidden_neurons(architecture.get_text_config())
        if architecture.model_type == "bloom":
            architecture.slow_but_exact = False  # it would slice the second MLP matrix and pass by the module that has it
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            config=architecture,
            output_loading_info=True,
            dtype=config.dtype.value,
            weights_only=True,
            **placement(config, gpus),
            **quantization(config),
            **hub_arguments,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise InputError(
            "model.path", folder, f"it cannot be loaded: {error}", "check the folder with transformers alone"
        ) from error
    refuse_missing_weights(loading["missing_keys"], folder)
    return model.eval()


def placement(config: ModelConfig, gpus: list[int] | None) -> dict[str, Any]:
    """Where the weights go: the arguments for transformers that keep a model to the GPUs given, or to all where None are.

    Without `config.device_map` that is the one GPU, all of several, or the processor.
    """
    present = list(range(torch.cuda.device_count()))
    gpus = present if gpus is None else gpus
    spread = config.device_map or ("auto" if len(gpus) > 1 else f"cuda:{gpus[0]}" if gpus else "cpu")
    memory = dict(config.max_memory) if config.max_memory else None
    if gpus != present:
        memory = {device: room for device, room in (memory or get_max_memory()).items() if device in {*gpus, "cpu", "disk"}}
    return {"device_map": spread, "max_memory": memory, "offload_folder": config.offload_folder}


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


def refuse_missing_weights(missing: set[str], folder: Path) -> None:
    """Raise `InputError` for weights the folder does not have: the library has filled them with random numbers."""
    if missing:
        some = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            "model.path", folder, f"{len(missing)} of its weights are missing: {some}", "use a folder with all the weights"
        )


def load_tokenizer(folder: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    if not matching_files(folder, TOKENIZER_FILES):
        raise InputError("model.tokenizer", folder, "it has no tokenizer", "give model.tokenizer=FOLDER with the files of one")
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)


def refuse_foreign_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, config: ModelConfig) -> None:
    embeddings = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embeddings:
        raise InputError(
            "model.tokenizer",
            config.tokenizer or "null",
            f"it has {len(tokenizer)} tokens, but the model knows only {embeddings}",
            "give the tokenizer that the model was trained with",
        )


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go: to the embeddings, or where those are computed with when they are offloaded."""
    hook = getattr(model.get_input_embeddings(), "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return model.device if device is None else torch.device(device)


def context_of(model: PreTrainedModel) -> int | None:
    """Tokens the model reads at once, from its configuration; None where that does not say."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "seq_length", "n_positions", "max_seq_len"):
        if getattr(config, name, None):
            return getattr(config, name)
    return None
