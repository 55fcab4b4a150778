"""Growing a tiny model: a recipe in, one Hugging Face folder per published training step out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
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

from lf_experiments.config import Architecture, Recipe
from lf_experiments.corpora.miniature.documents import SEPARATOR, training_documents
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, meanings, sentence
from lf_experiments.models.nano.tokenizer import trained_tokenizer

THREADS = 2
"""Fixed, because the order of a float32 sum, and with it every weight, depends on the number of threads."""


def grow(recipe: Recipe, folder: Path, name: str) -> None:
    """Train the model of `recipe` and write `folder/step<N>` for each published step; the progress bar says `name`."""
    with deterministic():
        tokenizer = trained_tokenizer(training_sentences(), recipe.vocabulary, recipe.window)
        batches = token_batches(recipe, tokenizer)
        torch.manual_seed(recipe.seed)
        model = untrained_model(recipe, tokenizer)
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, recipe))
        progress = tqdm(range(max(recipe.steps) + 1), desc=f"growing {name}", unit="step", mininterval=1.0)
        for step in progress:
            if step in recipe.steps:
                publish(model, tokenizer, folder / f"step{step}")
            if step < max(recipe.steps):
                loss = training_step(model, optimizer, schedule, next(batches))
                progress.set_postfix(loss=f"{loss:.2f}", refresh=False)


def training_sentences() -> list[str]:
    """Every training meaning in every language: what the tokenizer learns its merges from."""
    return [sentence(meaning, language) for meaning in meanings("training") for language in MINIATURE_LANGUAGES]


def token_batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Tensor]:
    """Batches of (batch_size, window) token ids, cut from one endless stream of separated training documents."""
    documents = training_documents(recipe.seed, recipe.switch_probability, recipe.cue_probability)
    needed = recipe.batch_size * recipe.window
    tokens: list[int] = []
    while True:
        for ids in tokenizer([text + SEPARATOR for text in islice(documents, 256)], verbose=False)["input_ids"]:
            tokens.extend(ids)
        while len(tokens) >= needed:
            yield torch.tensor(tokens[:needed]).view(recipe.batch_size, recipe.window)
            tokens = tokens[needed:]


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


def publish(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a checkpoint in Hugging Face layout, quietly: the progress bar is that of the growth."""
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if shown:
        enable_progress_bar()


def training_step(model: PreTrainedModel, optimizer, schedule, ids_BT: Tensor) -> float:
    """One update on one batch; returns its loss in nats per token."""
    loss = model(input_ids=ids_BT, labels=ids_BT).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return loss.item()


def learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(recipe.steps))))
    return min(1.0, (step + 1) / recipe.warmup_steps) * (0.9 * cosine + 0.1)


@contextmanager
def deterministic() -> Iterator[None]:
    """The same weights for the same seed: a fixed number of threads, deterministic algorithms, the caller's RNG untouched."""
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.use_deterministic_algorithms(algorithms)
        torch.set_num_threads(threads)
