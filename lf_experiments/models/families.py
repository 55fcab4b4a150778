"""Where the neurons of an architecture are: the input of the second MLP matrix of every layer (sec. 2).

That input is BLOOM's h of eq. (1) and LLaMA's SwiGLU(x) of eq. (3). To add an architecture, add its line to `SITES`.
"""

from __future__ import annotations

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from lf_experiments.config import InputError

LLAMA_LIKE = "layers.{layer}.mlp.down_proj"
NEOX_LIKE = "layers.{layer}.mlp.dense_4h_to_h"
BLOOM_LIKE = "h.{layer}.mlp.dense_4h_to_h"
GPT2_LIKE = "h.{layer}.mlp.c_proj"
GPTJ_LIKE = "h.{layer}.mlp.fc_out"
OPT_LIKE = "layers.{layer}.fc2"

SITES: dict[str, str] = {
    "apertus": LLAMA_LIKE,
    "arcee": LLAMA_LIKE,
    "bloom": BLOOM_LIKE,
    "codegen": GPTJ_LIKE,
    "cohere": LLAMA_LIKE,
    "cohere2": LLAMA_LIKE,
    "ernie4_5": LLAMA_LIKE,
    "exaone4": LLAMA_LIKE,
    "falcon": BLOOM_LIKE,
    "gemma": LLAMA_LIKE,
    "gemma2": LLAMA_LIKE,
    "gemma3_text": LLAMA_LIKE,
    "glm": LLAMA_LIKE,
    "glm4": LLAMA_LIKE,
    "gpt2": GPT2_LIKE,
    "gpt_bigcode": GPT2_LIKE,
    "gpt_neo": GPT2_LIKE,
    "gpt_neox": NEOX_LIKE,
    "gptj": GPTJ_LIKE,
    "granite": LLAMA_LIKE,
    "helium": LLAMA_LIKE,
    "hunyuan_v1_dense": LLAMA_LIKE,
    "hyperclovax": LLAMA_LIKE,
    "internlm3": LLAMA_LIKE,
    "jais2": LLAMA_LIKE,
    "llama": LLAMA_LIKE,
    "ministral": LLAMA_LIKE,
    "ministral3": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "mpt": "blocks.{layer}.ffn.down_proj",
    "nemotron": LLAMA_LIKE,
    "olmo": LLAMA_LIKE,
    "olmo2": LLAMA_LIKE,
    "olmo3": LLAMA_LIKE,
    "opt": OPT_LIKE,
    "persimmon": NEOX_LIKE,
    "phi": "layers.{layer}.mlp.fc2",
    "phi3": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "qwen3_5_text": LLAMA_LIKE,
    "seed_oss": LLAMA_LIKE,
    "smollm3": LLAMA_LIKE,
    "stablelm": LLAMA_LIKE,
    "starcoder2": "layers.{layer}.mlp.c_proj",
    "xglm": OPT_LIKE,
}
"""By `config.model_type`, the path of a layer's second MLP matrix inside the decoder, `model.get_decoder()`.

What reads images too is found by the `model_type` of its text model: Gemma 3 is "gemma3_text" with and without eyes.
"""

WIDTHS = ("intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner")
"""The names under which configurations give the number of neurons per layer; without any it is four times the hidden size."""

POSITION_TABLES = frozenset({"codegen", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "mpt", "opt"})
"""Architectures that look every position up in a table, and cannot read beyond its end."""

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""The names under which configurations give the number of experts of a layer."""


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
            raise wrong_line(
                config, f"layer {layer} has {input_width(site)} neurons where the configuration promises {expected}"
            )
    return sites


def neurons_per_layer(config: PretrainedConfig) -> int:
    """The number of neurons of one layer, as the configuration of a text model gives it."""
    for name in WIDTHS:
        if getattr(config, name, None):
            return getattr(config, name)
    return 4 * config.hidden_size


def refuse_hidden_neurons(config: PretrainedConfig) -> None:
    """Raise `InputError` for text models whose neurons no module receives, or none that is known."""
    if any((getattr(config, name, None) or 0) > 1 for name in EXPERTS):
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
            "add one line to SITES in lf_experiments/models/families.py, the path of its second MLP matrix inside "
            f'model.get_decoder(), as in "{config.model_type}": "{LLAMA_LIKE}"',
        )


def site_of_layer(model: PreTrainedModel, layer: int) -> nn.Module:
    config = model.config.get_text_config()
    path = SITES[config.model_type].format(layer=layer)
    try:
        return model.get_decoder().get_submodule(path)
    except AttributeError as error:
        raise wrong_line(config, f"its decoder has no module {path}") from error


def wrong_line(config: PretrainedConfig, problem: str) -> InputError:
    return InputError(
        "model", config.model_type, problem, "check the line of this architecture in lf_experiments/models/families.py"
    )


def input_width(site: nn.Module) -> int:
    """The width of what a linear module receives; GPT-2's `Conv1D` keeps its weight transposed."""
    return site.in_features if isinstance(site, nn.Linear) else site.weight.shape[0]
