"""FuxiTranyu, an architecture that transformers lacks: its repository brings code of its own, which need not be run.

It is Arcee's (RMSNorm, rotary positions, an MLP without a gate) with other settings, so that its weights fit as they are.
"""

from __future__ import annotations

from transformers import ArceeConfig, ArceeForCausalLM, AutoConfig, AutoModelForCausalLM


class FuxiTranyuConfig(ArceeConfig):
    """Its config.json names the activation function otherwise, and takes the biases of the MLP for granted."""

    model_type = "fuxitranyu"
    attribute_map = {"activation_function": "hidden_act"}

    hidden_act: str = "gelu_fast"
    attention_bias: bool = True
    mlp_bias: bool = True


class FuxiTranyuForCausalLM(ArceeForCausalLM):
    """The model."""

    config_class = FuxiTranyuConfig


AutoConfig.register(FuxiTranyuConfig.model_type, FuxiTranyuConfig)
AutoModelForCausalLM.register(FuxiTranyuConfig, FuxiTranyuForCausalLM)
