"""Loading a model and its tokenizer from a folder in Hugging Face layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lf_experiments.config import InputError, ModelConfig
from lf_experiments.models.checkpoints import TOKENIZER_FILES, WEIGHT_FILES, hub_tokenizer, matching_files
from lf_experiments.models.families import neuron_sites, neurons_per_layer, refuse_hidden_neurons

os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
"""Nobody is asked to convert the weights of a repository that has only pickles: they are read as they are."""


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

    @property
    def num_neurons_per_layer(self) -> int:
        """Neurons of one layer, N."""
        return neurons_per_layer(self.model.config.get_text_config())

    @property
    def num_parameters(self) -> int:
        """Parameters of the model, tied ones counted once."""
        return self.model.num_parameters()


def load_reader(folder: Path, config: ModelConfig) -> Reader:
    """Load what `folder` holds, as `config` says.

    No code from the folder is run unless `config.trust_remote_code`. Raises `InputError` for a folder without weights or
    tokenizer, or with an architecture whose neurons cannot be found.
    """
    tokenizer = load_tokenizer(tokenizer_folder(folder, config), config.trust_remote_code)
    model = load_model(folder, config)
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


def load_model(folder: Path, config: ModelConfig) -> PreTrainedModel:
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
            device_map=config.device_map or ("cuda" if torch.cuda.is_available() else "cpu"),
            weights_only=True,
            **hub_arguments,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise InputError(
            "model.path", folder, f"it cannot be loaded: {error}", "check the folder with transformers alone"
        ) from error
    refuse_missing_weights(loading["missing_keys"], folder)
    return model.eval()


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


def context_of(model: PreTrainedModel) -> int | None:
    """Tokens the model reads at once, from its configuration; None where that does not say."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "seq_length", "n_positions"):
        if getattr(config, name, None):
            return getattr(config, name)
    return None
