"""Checks of what was loaded: the files of a folder may be whole, and yet not belong together."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lf_experiments.config.schema import ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.families import layers_path

log = logging.getLogger(__name__)


def refuse_missing_weights(missing: set[str], folder: Path) -> None:
    """Raise `InputError` for weights the folder does not have: the library has filled them with random numbers."""
    if missing:
        some = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            "model.path", folder, f"{len(missing)} of its weights are missing: {some}", "use a folder with all the weights"
        )


def refuse_unused_weights(unexpected: set[str], model: PreTrainedModel, folder: Path) -> None:
    """Raise `InputError` for weights of layers that config.json does not count; warn of others that the layers do not use.

    `unexpected` names the weights of the folder that found no place in the model.
    """
    layers = model.config.get_text_config().num_hidden_layers
    unused = {name: layer for name in sorted(unexpected) if (layer := layer_of_weight(name, model)) is not None}
    if unused and max(unused.values()) >= layers:
        problem = f"it has weights of {max(unused.values()) + 1} layers, but config.json counts {layers}"
        raise InputError("model.path", folder, problem, "use the config.json that was published with the weights")
    if unused:
        log.warning("%d weights in %s belong to no part of its layers, such as %s", len(unused), folder, min(unused))


def layer_of_weight(name: str, model: PreTrainedModel) -> int | None:
    """The layer that a weight belongs to by its name, with or without the path of the decoder; None for any other weight."""
    decoder = next(name for name, module in model.named_modules() if module is model.get_decoder())
    layers = layers_path(model.config.get_text_config())
    found = re.match(rf"(?:{re.escape(decoder)}\.)?{re.escape(layers)}(\d+)\.", name)
    return int(found[1]) if found else None


def refuse_foreign_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, config: ModelConfig) -> None:
    """Raise `InputError` for a tokenizer with more tokens than the model has embeddings."""
    embeddings = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embeddings:
        raise InputError(
            "model.tokenizer",
            config.tokenizer or "null",
            f"it has {len(tokenizer)} tokens, but the model knows only {embeddings}",
            "give the tokenizer that the model was trained with",
        )
