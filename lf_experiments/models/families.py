"""Where the neurons of an architecture are: the input of the second MLP matrix of every layer (sec. 2).

That input is BLOOM's h of eq. (1) and LLaMA's SwiGLU(x) of eq. (3). Of the routed experts of a mixture it is taken times the
weight of the expert (`neurons/experts.py`). To add an architecture, add its line to `SITES`, or to `MIXTURES`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lf_experiments.errors import InputError
from lf_experiments.models.fuxitranyu import FuxiTranyuConfig
from lf_experiments.neurons.experts import ExpertsSite, show_experts
from lf_experiments.neurons.sites import DenseSite, JointSite, Site

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
    FuxiTranyuConfig.model_type: LLAMA_LIKE,
    "gemma": LLAMA_LIKE,
    "gemma2": LLAMA_LIKE,
    "gemma3_text": LLAMA_LIKE,
    "gemma3n_text": LLAMA_LIKE,
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

ROUTED = "layers.{layer}.mlp.experts"
SHARED = "layers.{layer}.mlp.shared_experts.down_proj"
GRANITE_ROUTED = "layers.{layer}.block_sparse_moe.experts"
GRANITE_SHARED = "layers.{layer}.shared_mlp.output_linear"

MIXTURES: dict[str, tuple[str, ...]] = {
    "afmoe": (ROUTED, SHARED, LLAMA_LIKE),
    "aria_text": (ROUTED, SHARED),
    "cohere2_moe": (ROUTED, SHARED, LLAMA_LIKE),
    "deepseek_v2": (ROUTED, SHARED, LLAMA_LIKE),
    "deepseek_v3": (ROUTED, SHARED, LLAMA_LIKE),
    "dots1": (ROUTED, SHARED, LLAMA_LIKE),
    "ernie4_5_moe": (ROUTED, SHARED, LLAMA_LIKE),
    "exaone_moe": (ROUTED, SHARED, LLAMA_LIKE),
    "flex_olmo": (ROUTED,),
    "glm4_moe": (ROUTED, SHARED, LLAMA_LIKE),
    "glm4_moe_lite": (ROUTED, SHARED, LLAMA_LIKE),
    "gpt_oss": (ROUTED,),
    "granitemoe": (GRANITE_ROUTED,),
    "granitemoeshared": (GRANITE_ROUTED, GRANITE_SHARED),
    "hunyuan_v1_moe": (ROUTED, "layers.{layer}.mlp.shared_mlp.down_proj"),
    "mimo_v2_flash": (ROUTED, LLAMA_LIKE),
    "minimax_m2": (ROUTED,),
    "mixtral": (ROUTED,),
    "olmoe": (ROUTED,),
    "phimoe": (ROUTED,),
    "qwen2_moe": (ROUTED, "layers.{layer}.mlp.shared_expert.down_proj", LLAMA_LIKE),
    "qwen3_5_moe_text": (ROUTED, "layers.{layer}.mlp.shared_expert.down_proj"),
    "qwen3_moe": (ROUTED, LLAMA_LIKE),
    "qwen3_next": (ROUTED, "layers.{layer}.mlp.shared_expert.down_proj", LLAMA_LIKE),
    "solar_open": (ROUTED, SHARED),
}
"""By `config.model_type`, the paths of what layers of a mixture of experts may have, each layer some of it: the routed experts,
the second matrix of the experts that all tokens share, that of a layer without experts."""

WIDTHS = ("intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner")
"""The names under which configurations give the number of neurons of a layer, one for all layers or a list of them; without
any it is four times the hidden size."""

GATES = ("gate_proj", "gate_up_proj")
"""The names of the matrix of the gate, alone or joined to that of what it gates; an MLP with none of them has no gate."""

ACTIVATIONS = ("act_fn", "activation_fn")
"""The names of the activation function in a gated MLP."""

POSITION_TABLES = frozenset({"codegen", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "mpt", "opt"})
"""Architectures that look every position up in a table, and cannot read beyond its end."""

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""The names under which configurations give the number of experts of a layer."""

EXPERT_WIDTHS = ("moe_intermediate_size", "intermediate_size")
"""The names under which they give the number of neurons of one expert."""

CHOSEN = ("num_experts_per_tok", "moe_topk", "moe_k")
"""The names under which they give how many experts a token is routed to."""


def neuron_sites(model: PreTrainedModel) -> list[Site]:
    """Where the neurons of each layer are seen and changed, in the order of the layers.

    The experts of a mixture are computed by `forward_experts` from then on. Raises `InputError` for an unknown architecture,
    for quantized experts, and where the modules found are not what the model's configuration promises: as many as layers, each
    as wide as its MLP, or with as many experts as wide as they should be.
    """
    config = model.config.get_text_config()
    refuse_hidden_neurons(config)
    if config.model_type in MIXTURES:
        show_experts(model)
        return [site_of_mixture(model, layer) for layer in range(config.num_hidden_layers)]
    sites = [site_of_layer(model, layer) for layer in range(config.num_hidden_layers)]
    for layer, (site, width) in enumerate(zip(sites, widths_of(config), strict=True)):
        if site.width != width:
            raise wrong_line(config, f"layer {layer} has {site.width} neurons where the configuration promises {width}")
    return sites


def join_operations(model: PreTrainedModel) -> None:
    """Compute the GELU of a BLOOM in float32 as one operation in place of eight; the values are the same.

    In fewer bits they would not be: transformers rounds after each of the eight.
    """
    if model.config.model_type == "bloom" and model.dtype == torch.float32:
        for layer in model.base_model.h:
            layer.mlp.gelu_impl = nn.GELU(approximate="tanh")


def widths_of(config: PretrainedConfig) -> list[int]:
    """The number of neurons of each layer, as the configuration of a dense text model promises it.

    Raises `InputError` for a list that is not as long as the model has layers.
    """
    layers = config.num_hidden_layers
    given = next((getattr(config, name) for name in WIDTHS if getattr(config, name, None)), 4 * config.hidden_size)
    widths = list(given) if isinstance(given, (list, tuple)) else [given] * layers
    if len(widths) != layers:
        raise InputError(
            "model",
            config.model_type,
            f"its configuration gives the width of {len(widths)} layers and has {layers}",
            "mend its config.json: one width per layer, or one for all",
        )
    return widths


def number_of_experts(config: PretrainedConfig) -> int:
    """The routed experts of a layer, the most where layers differ, as the configuration of a text model gives it; or 0."""
    return most(next((number for name in EXPERTS if (number := getattr(config, name, None))), 0))


def experts_per_token(config: PretrainedConfig) -> int:
    """How many experts a token is routed to, the most where layers differ."""
    return most(next((number for name in CHOSEN if (number := getattr(config, name, None))), 0))


def head_width(config: PretrainedConfig) -> int:
    """The width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def expert_width(config: PretrainedConfig) -> int:
    """The number of neurons of a routed expert."""
    return most(next(width for name in EXPERT_WIDTHS if (width := getattr(config, name, None))))


def most(value: int | list[int]) -> int:
    """A number that configurations give for all layers, or in a list for each."""
    return max(value) if isinstance(value, (list, tuple)) else value


def refuse_hidden_neurons(config: PretrainedConfig) -> None:
    """Raise `InputError` for text models whose neurons no module receives, or none that is known."""
    if config.model_type in MIXTURES:
        return
    if number_of_experts(config) > 1:
        raise InputError(
            "model",
            config.model_type,
            f"where this mixture of experts computes its neurons is not known; known are {', '.join(sorted(MIXTURES))}",
            "choose one of them or a dense model, or add its line to MIXTURES in lf_experiments/models/families.py",
        )
    if config.model_type not in SITES:
        raise InputError(
            "model",
            config.model_type,
            f"the neurons of this architecture are not known; known are {', '.join(sorted({*SITES, *MIXTURES}))}",
            "add one line to SITES in lf_experiments/models/families.py, the path of its second MLP matrix inside "
            f'model.get_decoder(), as in "{config.model_type}": "{LLAMA_LIKE}"',
        )


def layers_path(config: PretrainedConfig) -> str:
    """The path of the layers inside the decoder, with a point at its end."""
    path = MIXTURES[config.model_type][0] if config.model_type in MIXTURES else SITES[config.model_type]
    return path.partition("{layer}")[0]


def site_of_mixture(model: PreTrainedModel, layer: int) -> Site:
    """The site of a layer of a mixture: the routed experts and what stands beside or in place of them."""
    config, modules = model.config.get_text_config(), dict(model.get_decoder().named_modules())
    paths = [path.format(layer=layer) for path in MIXTURES[config.model_type]]
    banks = [bank_of(modules[path], modules[path.rpartition(".")[0]], config, layer) for path in paths if path in modules]
    if not banks:
        raise wrong_line(config, f"its decoder has no module {' or '.join(paths)}")
    return banks[0] if len(banks) == 1 else JointSite(list(banks))


def bank_of(module: nn.Module, mlp: nn.Module, config: PretrainedConfig, layer: int) -> DenseSite | ExpertsSite:
    """The neurons of routed experts, or of a matrix of an MLP. Raises `InputError` for experts that are not as promised."""
    if not hasattr(module, "num_experts"):
        return DenseSite(module, gate_activation(mlp))
    weight = getattr(module, "down_proj", None)
    if not isinstance(weight, Tensor) or weight.dtype.itemsize < 2 or not hasattr(module, "is_transposed"):
        raise InputError(
            "model",
            config.model_type,
            f"the experts of layer {layer} are quantized ({type(module).__name__}), and their neurons cannot be seen so",
            "take the weights in bfloat16: those that the model was published in, or their copy without quantization",
        )
    found, promised = ExpertsSite(module).experts, (number_of_experts(config), expert_width(config))
    if found != promised:
        raise wrong_line(
            config,
            f"layer {layer} has {found.number} experts of {found.width} neurons where the configuration promises "
            f"{promised[0]} of {promised[1]}",
        )
    return ExpertsSite(module)


def site_of_layer(model: PreTrainedModel, layer: int) -> Site:
    """The site that the table names for a layer. Raises `InputError` where the decoder has no such module."""
    config = model.config.get_text_config()
    path = SITES[config.model_type].format(layer=layer)
    try:
        matrix = model.get_decoder().get_submodule(path)
    except AttributeError as error:
        raise wrong_line(config, f"its decoder has no module {path}") from error
    return DenseSite(matrix, gate_activation(model.get_decoder().get_submodule(path.rpartition(".")[0])))


def gate_activation(mlp: nn.Module) -> nn.Module | None:
    """The activation function of a gated MLP, which is given the gate alone; None for an MLP without."""
    if not any(hasattr(mlp, name) for name in GATES):
        return None
    return next(getattr(mlp, name) for name in ACTIVATIONS if hasattr(mlp, name))


def wrong_line(config: PretrainedConfig, problem: str) -> InputError:
    """The error of an architecture whose line in `SITES` or `MIXTURES` does not fit its models."""
    return InputError(
        "model", config.model_type, problem, "check the line of this architecture in lf_experiments/models/families.py"
    )
