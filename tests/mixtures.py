"""For tests: every mixture of experts that is known, as a tiny configuration."""

from transformers import AutoConfig, PretrainedConfig

LAYERS, HIDDEN, EXPERTS, CHOSEN, WIDTH, DENSE, SHARED = 3, 32, 6, 2, 12, 24, 20

ROUTED = {"num_experts_per_tok": CHOSEN}
LOCAL = {**ROUTED, "num_local_experts": EXPERTS, "intermediate_size": WIDTH}
SPARSE = ["dense", "sparse", "sparse"]
LATENT = {"kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "head_dim": 4}
DEEPSEEK = {
    **ROUTED,
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 2,
    "moe_intermediate_size": WIDTH,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
QWEN = {**ROUTED, "num_experts": EXPERTS, "moe_intermediate_size": WIDTH}
QWEN_SHARED = {**QWEN, "shared_expert_intermediate_size": SHARED}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    **dict.fromkeys(["linear_key_head_dim", "linear_value_head_dim"], 8),
    **dict.fromkeys(["linear_num_key_heads", "linear_num_value_heads"], 2),
}
ALL_HEADS = {"num_key_value_heads": 4}
FULL = {"layer_types": ["full_attention"] * LAYERS}

SETTINGS: dict[str, dict[str, object]] = {
    "afmoe": {**QWEN, **FULL, "num_shared_experts": 2, "num_dense_layers": 1},
    "aria_text": {"moe_num_experts": EXPERTS, "moe_topk": CHOSEN, "moe_num_shared_experts": 2, "intermediate_size": WIDTH},
    "cohere2_moe": {
        **ROUTED, "num_experts": EXPERTS, "num_shared_experts": 2, "intermediate_size": WIDTH, "logit_scale": 1.0,
        "mlp_layer_types": SPARSE, "prefix_dense_intermediate_size": DENSE,
    },
    "deepseek_v2": {**DEEPSEEK, **LATENT, **ALL_HEADS, "q_lora_rank": None, "topk_method": "greedy", "n_group": 1},
    "deepseek_v3": {**DEEPSEEK, **LATENT, **ALL_HEADS, "q_lora_rank": 8},
    "dots1": DEEPSEEK,
    "ernie4_5_moe": {
        "moe_num_experts": EXPERTS, "moe_k": CHOSEN, "moe_num_shared_experts": 2, "moe_intermediate_size": WIDTH,
        "moe_layer_start_index": 1, "moe_layer_end_index": 2,
    },
    "exaone_moe": {**QWEN, **FULL, "num_shared_experts": 2, "mlp_layer_types": SPARSE},
    "flex_olmo": {**ROUTED, "num_experts": EXPERTS, "intermediate_size": WIDTH},
    "glm4_moe": DEEPSEEK,
    "glm4_moe_lite": {**DEEPSEEK, **LATENT, **ALL_HEADS, "q_lora_rank": 8, "mlp_layer_types": SPARSE},
    "gpt_oss": LOCAL,
    "granitemoe": LOCAL,
    "granitemoeshared": {**LOCAL, "shared_intermediate_size": SHARED},
    "hunyuan_v1_moe": {"num_experts": EXPERTS, "moe_topk": CHOSEN, "intermediate_size": WIDTH},
    "mimo_v2_flash": {
        **ROUTED, "n_routed_experts": EXPERTS, "moe_intermediate_size": WIDTH, "mlp_layer_types": SPARSE, "v_head_dim": 8,
        "n_group": 1, "topk_group": 1,
    },
    "minimax_m2": LOCAL,
    "mixtral": LOCAL,
    "olmoe": {**ROUTED, "num_experts": EXPERTS, "intermediate_size": WIDTH},
    "phimoe": LOCAL,
    "qwen2_moe": {**QWEN_SHARED, "mlp_only_layers": [0]},
    "qwen3_5_moe_text": {**QWEN_SHARED, **LINEAR},
    "qwen3_moe": {**QWEN, "mlp_only_layers": [0], "norm_topk_prob": True},
    "qwen3_next": {**QWEN_SHARED, **LINEAR, "mlp_only_layers": [0]},
    "solar_open": DEEPSEEK,
}  # fmt: skip
"""What each of them needs to be tiny, with `EXPERTS` experts of `WIDTH` neurons, `CHOSEN` for each token."""


def tiny_mixture(model_type: str, **more: object) -> PretrainedConfig:
    """The configuration of a mixture of `LAYERS` layers; where it can, its first has an ordinary MLP of `DENSE` neurons."""
    sizes = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": DENSE,
        "vocab_size": 330,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    return AutoConfig.for_model(model_type, **{**sizes, **SETTINGS[model_type], **more})
