"""What a run would compute: floating-point operations per stage, and how many this machine does in a second.

A multiplication and an addition are two operations. They are counted over every token of a padded batch: the matrices of
the decoder, and in every layer the attention of all positions to all. The head is counted where it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lf_experiments.config import Config, Recipe, Stage
from lf_experiments.models.families import neuron_sites, neurons_per_layer
from lf_experiments.plan.model import PlannedModel
from lf_experiments.plan.placement import Device
from lf_experiments.plan.reading import Batch, Reading, batches, capture_batches

EFFICIENCY = 0.5
"""What forward passes are assumed to reach of the rate of a matrix product; BLOOM-560M has reached 0.59 on a processor."""


@dataclass(frozen=True)
class Work:
    """The floating-point operations of a stage."""

    stage: str
    operations: int | None
    """None where they are not known."""
    note: str


def work(config: Config, planned: PlannedModel, read: Reading) -> list[Work]:
    """The operations of every stage that reads with the model, and of growing one that is still to be grown."""
    model = planned.reader.model
    to_grow = [growth(config.model.recipe, model)] if config.model.recipe and not planned.is_here else []
    return to_grow + [WORK[stage](config, model, read) for stage in config.stages if stage in WORK]


def growth(recipe: Recipe, model: PreTrainedModel) -> Work:
    """The training steps: a forward pass and a backward pass of twice its operations, with the head."""
    once = forward_operations(model, [(recipe.batch_size, recipe.window)], recipe.batch_size * recipe.window)
    return Work("grow", 3 * max(recipe.steps) * once, f"{max(recipe.steps):,} training steps, the first time only")


def capture_work(config: Config, model: PreTrainedModel, read: Reading) -> Work:
    """Every sentence once, without the head."""
    found = capture_batches(config, read, len(neuron_sites(model)) * neurons_per_layer(model.config.get_text_config()))
    tokens = sum(rows * tokens for rows, tokens in found)
    note = f"every sentence once: {tokens:,} tokens with padding, batches: {len(found):,}"
    return Work("capture", forward_operations(model, found), note)


def deactivate_work(config: Config, model: PreTrainedModel, read: Reading) -> Work:
    """All text as the model is, without each region, and without each draw of random neurons."""
    if not read.windows:
        return unknown_work("deactivate", model, deactivations(config))
    operations = 0
    for lengths in read.windows.values():
        found = batches(lengths, config.runtime.batch_tokens, config.runtime.num_processes)
        operations += forward_operations(model, found, sum(lengths) - len(lengths))
    return Work("deactivate", deactivations(config) * operations, f"all text {deactivations(config)} times: {TIMES}")


def cloze_work(config: Config, model: PreTrainedModel, read: Reading) -> Work:
    """All stories likewise, with the head at every token."""
    passes = deactivations(config) if config.cloze.regions else 1
    if not read.stories:
        return unknown_work("cloze", model, passes)
    operations = passes * forward_operations(model, read.stories, sum(rows * tokens for rows, tokens in read.stories))
    return Work("cloze", operations, f"all stories {passes} times" + (f": {TIMES}" if passes > 1 else ""))


def generate_work(config: Config, model: PreTrainedModel, read: Reading) -> Work:
    """The first sentences of each language, continued token by token, as the model is and without each region."""
    new, passes = config.generation.tokens, 1 + len(config.generation.languages or config.languages)
    once = sum(generation_operations(model, prompts, new) for prompts in read.prompts)
    asked = sum(rows for rows, _ in read.prompts)
    return Work("generate", passes * once, f"at most: {asked} sentences, {new} new tokens each, {passes} times")


WORK: dict[Stage, Callable[[Config, PreTrainedModel, Reading], Work]] = {
    Stage.capture: capture_work,
    Stage.deactivate: deactivate_work,
    Stage.cloze: cloze_work,
    Stage.generate: generate_work,
}
"""How the operations of the stages that read with the model are counted."""

TIMES = "whole, without each region, random controls"


def deactivations(config: Config) -> int:
    """How often text is read: by the whole model, without each region, and without each draw of random neurons."""
    return 1 + len(config.languages) + config.control.draws


def unknown_work(stage: str, model: PreTrainedModel, passes: int) -> Work:
    """The work of reading what is not known."""
    million = 10**6 * passes * forward_operations(model, [(1, 1)], 1)
    return Work(stage, None, f"{million:.1e} for every million tokens, read {passes} times")


@dataclass(frozen=True)
class Unit:
    """Multiplications and additions of one forward pass."""

    matrices: int
    """Of the decoder, for a token."""
    attention: int
    """For a pair of positions."""
    head: int
    """For a token."""


def unit(model: PreTrainedModel) -> Unit:
    """What a model computes with every token, and with every pair."""
    config = model.config.get_text_config()
    layers = [module for module in model.get_decoder().modules() if isinstance(module, (nn.Linear, Conv1D))]
    return Unit(
        matrices=sum(layer.weight.numel() for layer in layers),
        attention=2 * config.num_hidden_layers * config.num_attention_heads * head_width(config),
        head=model.get_output_embeddings().weight.numel(),
    )


def head_width(config: PretrainedConfig) -> int:
    """The width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def forward_operations(model: PreTrainedModel, found: list[Batch], predicted: int = 0) -> int:
    """Floating-point operations of forward passes over batches, with the head applied to `predicted` tokens."""
    of = unit(model)
    return 2 * (sum(rows * tokens * (of.matrices + of.attention * tokens) for rows, tokens in found) + predicted * of.head)


def generation_operations(model: PreTrainedModel, prompts: Batch, new: int) -> int:
    """Floating-point operations of `new` tokens for every prompt of a batch; all but the first read the one before it."""
    rows, tokens = prompts
    of = unit(model)
    pairs = sum(tokens + step for step in range(1, new))
    return forward_operations(model, [prompts], new * rows) + 2 * rows * ((new - 1) * of.matrices + pairs * of.attention)


@dataclass(frozen=True)
class Rate:
    """How fast all processes together compute."""

    throughput: float | None
    """Floating-point operations per second; None where it is not known."""
    note: str


def rate(config: Config, devices: list[Device], bytes_per_weight: int) -> Rate:
    """The throughput given, or that of a matrix product measured here, as far as a model can reach it.

    `devices` are those of one process: however many they are, one computes at a time.
    """
    if config.plan.throughput:
        return Rate(config.plan.throughput, "plan.throughput, all devices together")
    if config.plan.gpus:
        return Rate(None, "give plan.throughput: GPUs that are not here cannot be measured")
    device = "cuda" if any(device.is_gpu and device.weights for device in devices) else "cpu"
    dtype = torch.float32 if bytes_per_weight == 4 else torch.bfloat16
    measured = matrix_throughput(dtype, device)
    at_once = config.runtime.num_processes if device == "cuda" else 1
    name = str(dtype).removeprefix("torch.")
    note = f"{EFFICIENCY:.0%} (assumed) of {measured:.1e}, a matrix product in {name} measured here"
    return Rate(EFFICIENCY * measured * at_once, note + (f", times {at_once} processes" if at_once > 1 else ""))


def matrix_throughput(dtype: torch.dtype, device: str, seconds: float = 0.5) -> float:
    """Floating-point operations per second of a large matrix product on a device, measured for some `seconds`."""
    size = 8192 if device == "cuda" else 1024
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    (matrix @ matrix)[0, 0].item()  # the first one also sets everything up
    products, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        (matrix @ matrix)[0, 0].item()
        products += 1
    return 2 * size**3 * products / elapsed
