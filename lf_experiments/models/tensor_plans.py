"""How the matrices of an architecture are shared between processes: the plans of transformers, and one of our own.

To add an architecture that transformers has no plan for, add its plan to `PLANS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.distributed.parallel_utils import replace_layer_number_by_wildcard
from transformers.distributed.tensor_parallel import get_kv_heads_per_rank

from lf_experiments.errors import InputError
from lf_experiments.models.families import MIXTURES
from lf_experiments.models.files import is_gguf

PLANS: dict[str, dict[str, str]] = {
    "bloom": {
        "transformer.word_embeddings": "embedding_rowwise",
        "transformer.h.*.self_attention.query_key_value": "colwise_gather_output",
        "transformer.h.*.self_attention.dense": "rowwise_split_input",
        "transformer.h.*.mlp.dense_h_to_4h": "colwise",
        "transformer.h.*.mlp.dense_4h_to_h": "rowwise",
        "lm_head": "colwise_gather_output",
    },
}
"""By `config.model_type`, where transformers has none. BLOOM's attention counts its heads itself: all do all of it, and share
its weights."""

DIVIDES = ("colwise", "embedding_", "packed_", "rowwise")
"""How the names of the styles begin in which weights are divided."""

REMEDY = "leave it out: runtime.num_processes makes several copies of a model, and model.device_map=auto spreads one over GPUs"


def refuse_unshardable(architecture: PretrainedConfig, shards: int, folder: Path | None = None) -> None:
    """Raise `InputError` for a model whose layers so many processes cannot share; it may be the one in a folder."""
    in_file = "the weights of a GGUF file are restored all at once, and not divided" if folder and is_gguf(folder) else ""
    problem = in_file or sharding_problem(architecture, shards)
    if problem:
        raise InputError("runtime.tensor_parallel", shards, problem, REMEDY)


def sharding_problem(architecture: PretrainedConfig, shards: int) -> str:
    """Why so many processes cannot share the layers of a model; empty where they can."""
    config = architecture.get_text_config()
    if config.model_type in MIXTURES:
        return f"{config.model_type} is a mixture of experts, whose neurons are not gathered over processes"
    if getattr(architecture, "quantization_config", None):
        return "the weights of this model are quantized, and packed weights are not divided"
    plan = PLANS.get(config.model_type) or getattr(config, "base_model_tp_plan", None)
    if not plan:
        return f"transformers has no plan for {config.model_type} that says how its layers are shared"
    if any(getattr(config, "activation_sparsity_pattern", None) or ()):
        return f"{config.model_type} silences neurons that are small among all of their layer, of which a process has a part"
    heads, of_keys = config.num_attention_heads, getattr(config, "num_key_value_heads", None)
    if get_kv_heads_per_rank(plan, of_keys or heads, shards) is None:
        which = f"{heads} attention heads" if of_keys in (None, heads) else f"{of_keys} key-value heads"
        return f"its {which} cannot be shared by {shards} processes"
    return ""


def most_shards(architecture: PretrainedConfig, processes: int) -> int:
    """How many of so many processes can share the layers of a model; 1 where it cannot be shared."""
    return next(shards for shards in range(processes, 0, -1) if shards == 1 or not sharding_problem(architecture, shards))


def sharding(architecture: PretrainedConfig, shards: int) -> dict[str, Any]:
    """The arguments for transformers that share the layers of a model between so many processes."""
    plan = PLANS.get(architecture.get_text_config().model_type)
    return {"distributed_config": DistributedConfig(tp_size=shards, tp_plan=plan)}


def style_of(model: PreTrainedModel, name: str) -> str:
    """How the weights of a module are shared, in the words of transformers; empty where every process has all of them."""
    plan = PLANS.get(model.config.get_text_config().model_type) or model.tp_plan
    return plan.get(replace_layer_number_by_wildcard(name), "")


def divided_weights(model: PreTrainedModel) -> set[str]:
    """The names of the parameters of which each process would have its part, and not all."""
    names = [name for name, _ in model.named_parameters()]
    return {name for name in names if style_of(model, name.rpartition(".")[0]).startswith(DIVIDES)}
