"""Growing a tiny model: a recipe in, one Hugging Face folder per published training step out."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from lf_experiments.config.schema import Architecture, Recipe
from lf_experiments.corpora.miniature.documents import SEPARATOR, Kinds, training_documents
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, meanings, sentence, table
from lf_experiments.models.families import join_operations
from lf_experiments.models.nano.gradients import Gradients, deterministic, helped
from lf_experiments.models.nano.muon import Muon
from lf_experiments.models.nano.tokenizer import trained_tokenizer

STEPS_WORTH_HELP = 100
"""Of a shorter growth no helper is asked: it takes as long to start as thirty steps."""


def grow(recipe: Recipe, folder: Path, name: str) -> None:
    """Train the model of `recipe` and write `folder/step<N>` for each published step; the progress bar says `name`.

    Another process helps where torch would use several threads; the weights are the same.
    """
    has_helper = torch.get_num_threads() > 1 and max(recipe.steps) >= STEPS_WORTH_HELP
    with deterministic(), ExitStack() as stack:
        tokenizer = trained_tokenizer(training_sentences(), recipe.vocabulary, recipe.window)
        batches = token_batches(recipe, tokenizer)
        torch.manual_seed(recipe.seed)
        model = untrained_model(recipe, tokenizer)
        join_operations(model)
        gradients = stack.enter_context(helped(model, recipe.batch_size, recipe.window, has_helper))
        optimizers, factor = optimizers_of(model, recipe), partial(learning_rate_factor, recipe=recipe)
        schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in optimizers]
        progress = tqdm(range(max(recipe.steps) + 1), desc=f"growing {name}", unit="step", mininterval=1.0)
        for step in progress:
            if step in recipe.steps:
                publish(model, tokenizer, folder / f"step{step}")
            if step < max(recipe.steps):
                loss = update(gradients, optimizers, schedules, next(batches))
                progress.set_postfix(loss=f"{loss:.2f}", refresh=False)


def training_sentences() -> list[str]:
    """Every training meaning in every language: what the tokenizer learns its merges from."""
    return [sentence(meaning, language) for meaning in meanings("training") for language in MINIATURE_LANGUAGES]


def token_batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Tensor]:
    """Batches of (batch_size, window) token ids. A window begins with a document and has documents about one subject alone:
    all that is said before is of use for what follows, and that it is gets learnt in a third of the steps.
    """
    rng, subjects = random.Random(recipe.seed), list(table("subjects"))
    while True:
        yield torch.tensor([window(recipe, tokenizer, rng.choice(subjects), rng) for _ in range(recipe.batch_size)])


def window(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, subject: str, rng: random.Random) -> list[int]:
    """Token ids of separated training documents about a subject; what is beyond the window is left out."""
    documents = training_documents(subject, Kinds(recipe.cued, recipe.translated, recipe.switching), rng)
    ids: list[int] = []
    while len(ids) < recipe.window:
        ids += tokenizer(next(documents) + SEPARATOR, verbose=False)["input_ids"]
    return ids[: recipe.window]


def untrained_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The recipe's architecture with random weights."""
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    if recipe.architecture is Architecture.bloom:
        return BloomForCausalLM(
            BloomConfig(
                vocab_size=len(tokenizer),
                hidden_size=recipe.hidden_size,
                n_layer=recipe.layers,
                n_head=recipe.heads,
                use_cache=False,
                **special,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=4 * recipe.hidden_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            use_cache=False,
            **special,
        )
    )


def optimizers_of(model: PreTrainedModel, recipe: Recipe) -> list[Optimizer]:
    """Muon for the matrices of attention, and AdamW for all else, of which only the matrices of the MLPs decay.

    With AdamW for attention too it takes longer until earlier sentences are made use of, and regions are less of one language;
    with Muon for the MLPs too, key neurons are spread evenly over the layers, and stay as many.
    """
    names = {name: weight for name, weight in model.named_parameters() if weight.ndim == 2}
    attention = [weight for name, weight in names.items() if ".self_att" in name]
    mlps = [weight for name, weight in names.items() if ".mlp." in name]
    apart = {id(weight) for weight in (*attention, *mlps)}
    others = [weight for weight in model.parameters() if id(weight) not in apart]
    of_mlps = {"params": mlps, "lr": recipe.mlp_learning_rate, "weight_decay": recipe.weight_decay}
    adam = torch.optim.AdamW(
        [of_mlps, {"params": others, "lr": recipe.learning_rate, "weight_decay": 0.0}], betas=(0.9, 0.95), fused=True
    )
    return [adam, Muon(same_shaped(attention, recipe.heads), recipe.attention_learning_rate)]


def same_shaped(matrices: list[nn.Parameter], heads: int) -> list[dict[str, Any]]:
    """The groups of Muon. BLOOM keeps queries, keys and values of all heads in one matrix of three times as many rows."""
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for matrix in matrices:
        by_shape.setdefault(matrix.shape, []).append(matrix)
    return [
        {"params": of_shape, "blocks": 3 * heads if rows == 3 * columns else 1}
        for (rows, columns), of_shape in by_shape.items()
    ]


def publish(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a checkpoint in Hugging Face layout, quietly: the progress bar is that of the growth."""
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if shown:
        enable_progress_bar()


def update(gradients: Gradients, optimizers: Sequence[Optimizer], schedules: Sequence[LRScheduler], ids_BT: Tensor) -> float:
    """One update on one batch; returns its loss in nats per token."""
    loss = gradients.compute(ids_BT)
    nn.utils.clip_grad_norm_(gradients.model.parameters(), 1.0)
    for optimizer, schedule in zip(optimizers, schedules, strict=True):
        optimizer.step()
        schedule.step()
    return loss


def learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, *recipe.steps)))
    return min(1.0, (step + 1) / recipe.warmup_steps) * (0.9 * cosine + 0.1)
