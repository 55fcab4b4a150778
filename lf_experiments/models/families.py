"""Where the neurons of an architecture are: the input of the second MLP matrix of every layer (sec. 2).

That input is BLOOM's h of eq. (1) and LLaMA's SwiGLU(x) of eq. (3). To add an architecture, add its line to `SITES`.
"""

from __future__ import annotations

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from lf_experiments.config import InputError

LLAMA_LIKE = "model.layers.{layer}.mlp.down_proj"

SITES: dict[str, str] = {
    "bloom": "transformer.h.{layer}.mlp.dense_4h_to_h",
    "falcon": "transformer.h.{layer}.mlp.dense_4h_to_h",
    "gemma": LLAMA_LIKE,
    "gemma2": LLAMA_LIKE,
    "gpt2": "transformer.h.{layer}.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.{layer}.mlp.dense_4h_to_h",
    "llama": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "olmo2": LLAMA_LIKE,
    "opt": "model.decoder.layers.{layer}.fc2",
    "phi3": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "smollm3": LLAMA_LIKE,
    "xglm": "model.layers.{layer}.fc2",
}
"""The path of the second MLP matrix of a layer, by `config.model_type`."""

WIDTHS = ("intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner")
"""The names under which configurations give the number of neurons per layer; without any it is four times the hidden size."""


def neuron_sites(model: PreTrainedModel) -> list[nn.Module]:
    """One module per layer, in order, whose input is the neurons of that layer.

    Raises `InputError` for an unknown architecture, for a mixture of experts, and where the modules found are not what the
    model's configuration promises: as many as layers, each as wide as its MLP.
    """
    config = model.config.get_text_config()
    refuse_hidden_neurons(config)
    expected = neurons_per_layer(config)
    sites = [site_of_layer(model, layer) for layer in range(config.num_hidden_layers)]
    for layer, site in enumerate(sites):
        if input_width(site) != expected:
            raise InputError(
                "model",
                config.model_type,
                f"layer {layer} has {input_width(site)} neurons where the configuration promises {expected}",
                "check the line of this architecture in lf_experiments/models/families.py",
            )
    return sites


def neurons_per_layer(config: PretrainedConfig) -> int:
    """The number of neurons of one layer, as the configuration gives it."""
    for name in WIDTHS:
        if getattr(config, name, None):
            return getattr(config, name)
    return 4 * config.hidden_size


def refuse_hidden_neurons(config: PretrainedConfig) -> None:
    """Raise `InputError` for models whose neurons no module receives."""
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        raise InputError(
            "model",
            config.model_type,
            "a mixture of experts keeps its neurons inside fused expert weights, where they cannot be recorded",
            "choose a dense model",
        )
    if config.model_type not in SITES:
        raise InputError(
            "model",
            config.model_type,
            f"the neurons of this architecture are not known; known are {', '.join(sorted(SITES))}",
            'add one line to SITES in lf_experiments/models/families.py: "model_type": "path.of.{layer}.second_matrix"',
        )


def site_of_layer(model: PreTrainedModel, layer: int) -> nn.Module:
    path = SITES[model.config.get_text_config().model_type].format(layer=layer)
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise InputError(
            "model",
            model.config.model_type,
            f"it has no module {path}",
            "check the line of this architecture in lf_experiments/models/families.py",
        ) from error


def input_width(site: nn.Module) -> int:
    """The width of what a linear module receives; GPT-2's `Conv1D` keeps its weight transposed."""
    return site.in_features if isinstance(site, nn.Linear) else site.weight.shape[0]
