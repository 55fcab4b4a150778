"""Checkpoints: the folder that holds a model at a training step, and the fingerprint of the weights in it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import tokenizers
import torch
import transformers

from lf_experiments.config import CheckpointConfig, Config, InputError, Recipe
from lf_experiments.corpora.miniature.world import world_files
from lf_experiments.storage import files_fingerprint, fingerprint, made_once

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "spiece.model", "sentencepiece*.model")


def checkpoint_folder(config: Config) -> Path:
    """The Hugging Face folder of the configured model at the configured step; a nano model is grown where it is not yet.

    Raises `InputError` for a local folder that is none.
    """
    if config.model.recipe:
        model = grown_model(config.model.name, config.model.recipe, config.cache_folder)
        return model / f"step{training_step(config.model.recipe, config.checkpoint)}"
    folder = Path(config.model.path).expanduser()
    if not (folder / "config.json").is_file():
        problem = "it has no config.json" if folder.is_dir() else "there is no such folder"
        raise InputError("model.path", config.model.path, problem, "give a folder in Hugging Face layout")
    return folder


def training_step(recipe: Recipe | None, checkpoint: CheckpointConfig) -> int | None:
    """The step a checkpoint stands for, or None where the model does not say at which step it was final."""
    return max(recipe.steps) if recipe and checkpoint.step is None else checkpoint.step


def training_tokens(recipe: Recipe | None, checkpoint: CheckpointConfig) -> int | None:
    """How many tokens a checkpoint was trained on, or None where nothing says so."""
    return training_step(recipe, checkpoint) * recipe.batch_size * recipe.window if recipe else None


def grown_model(name: str, recipe: Recipe, cache: Path) -> Path:
    """The folder with one `step<N>` per published step of a recipe, grown on first use.

    Its name says what it was grown from: the recipe, the miniature world, and the libraries that did the arithmetic.
    """
    recipe_values = {**asdict(recipe), "architecture": recipe.architecture.value}
    libraries = [module.__version__ for module in (torch, transformers, tokenizers)]
    content = fingerprint([recipe_values, files_fingerprint(world_files()), libraries])
    folder = cache / "models" / f"{name}-{content}"
    with made_once(folder) as partial:
        if partial:
            from lf_experiments.models.nano.growth import grow

            grow(recipe, partial, name)
    return folder


def weight_fingerprint(folder: Path) -> str:
    """A name of the weights in a checkpoint folder, made of the content of their files; equal for duplicated checkpoints."""
    return files_fingerprint(matching_files(folder, WEIGHT_FILES))


def tokenizer_fingerprint(folder: Path) -> str:
    """A name of the tokenizer in a folder, made of the content of its files."""
    return files_fingerprint(matching_files(folder, TOKENIZER_FILES))


def matching_files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder that match any of the patterns, sorted by name."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
