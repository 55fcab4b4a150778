"""The shape of a model: its configuration for transformers, and the model without weights, from what its YAML file says."""

from __future__ import annotations

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from lf_experiments.config.schema import Shape
from lf_experiments.errors import InputError
from lf_experiments.models.families import EXPERT_WIDTHS, MIXTURES, WIDTHS, expert_width, widths_of

WITHOUT_DEFAULT = frozenset({"head_dim"})
"""Settings that architectures read where config.json has them, and that some of their configurations do not name."""


def shape_config(shape: Shape) -> PretrainedConfig:
    """The configuration of a model of this shape.

    Raises `InputError` for an architecture or a setting that transformers does not have, and for a number of neurons that
    the architecture cannot have.
    """
    if shape.model_type not in CONFIG_MAPPING:
        raise InputError(
            "model.shape.model_type", shape.model_type, "transformers has no such architecture", "give the name it has there"
        )
    architecture = CONFIG_MAPPING[shape.model_type]
    default = architecture()
    refuse_unknown_settings(shape, default)
    sizes = {
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden_size,
        "num_attention_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        **{name: shape.d_ff for name in width_names(shape, default)},
    }
    named = {architecture.attribute_map.get(name, name): value for name, value in sizes.items()}
    config = architecture(**{**named, **shape.settings})
    refuse_other_width(shape, config)
    return config


def width_names(shape: Shape, default: PretrainedConfig) -> list[str]:
    """The settings that say how many neurons a layer, or an expert, of the architecture has."""
    if shape.model_type in MIXTURES:
        return [next(name for name in EXPERT_WIDTHS if hasattr(default, name))]
    return [name for name in WIDTHS if hasattr(default, name)]


def refuse_unknown_settings(shape: Shape, default: PretrainedConfig) -> None:
    """Raise `InputError` for a setting that the architecture does not have: transformers would keep it and not use it."""
    for name, value in shape.settings.items():
        if not hasattr(default, name) and name not in WITHOUT_DEFAULT:
            raise InputError(
                f"model.shape.settings.{name}",
                value,
                f"{shape.model_type} has no such setting",
                "give the name it has in config.json",
            )


def refuse_other_width(shape: Shape, config: PretrainedConfig) -> None:
    """Raise `InputError` where a layer would have another number of neurons than the shape says, as BLOOM's four times."""
    is_mixture = shape.model_type in MIXTURES
    width = expert_width(config) if is_mixture else widths_of(config)[0]
    if width != shape.d_ff:
        whose = f"{'an expert' if is_mixture else 'a layer'} of {shape.model_type}"
        raise InputError(
            "model.shape.d_ff",
            shape.d_ff,
            f"{whose} with a hidden size of {shape.hidden_size} has {width} neurons",
            "give this number, or check the hidden size",
        )


def empty_model(config: PretrainedConfig) -> PreTrainedModel:
    """The model of a configuration on the meta device: all its modules and parameters, tied ones shared, and no memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)
