"""Checkpoints: the folder that holds a model at a training step, and the fingerprint of the weights in it."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from pathlib import Path

import tokenizers
import torch
import transformers

from lf_experiments.config import CheckpointConfig, Config, HubModel, InputError, ModelConfig, Recipe
from lf_experiments.corpora.miniature.world import world_files
from lf_experiments.hub import snapshot
from lf_experiments.storage import files_fingerprint, fingerprint, made_once

log = logging.getLogger(__name__)

SAFETENSORS = ("model*.safetensors",)
PICKLES = ("pytorch_model*.bin",)
WEIGHT_FILES = (*SAFETENSORS, *PICKLES)
TOKENIZER_FILES = (
    "tokenizer*", "added_tokens.json", "vocab*", "merges.txt", "special_tokens_map.json", "spiece.model", "sentencepiece*.model"
)  # fmt: skip
CONFIGURATION_FILES = ("config.json", "generation_config.json", "*.index.json")
CODE_FILES = ("*.py",)


def checkpoint_folder(config: Config) -> Path:
    """The Hugging Face folder of the configured model at the configured step.

    A nano model is grown where it is not yet, a model of the hub downloaded. Raises `InputError` for a local folder that is
    none, and for a repository that does not give the weights.
    """
    if config.model.hub:
        return hub_weights(config.model, config.checkpoint.step)
    if config.model.recipe:
        model = grown_model(config.model.name, config.model.recipe, config.cache_folder)
        return model / f"step{training_step(config.model.recipe, config.checkpoint)}"
    folder = Path(config.model.path).expanduser()
    if not (folder / "config.json").is_file():
        problem = "it has no config.json" if folder.is_dir() else "there is no such folder"
        raise InputError("model.path", config.model.path, problem, "give a folder in Hugging Face layout")
    return folder


def hub_weights(model: ModelConfig, step: int | None) -> Path:
    """The snapshot of a model of the hub at a published step, or at its end where `step` is None.

    Weights come as safetensors, and as pickles only from a repository that has nothing else.
    """
    repository, revision = hub_revision(model.hub, step)
    for weights in (SAFETENSORS, PICKLES):
        folder = snapshot(repository, revision, (*weights, *CONFIGURATION_FILES, *code_files(model)))
        if matching_files(folder, weights) and (folder / "config.json").is_file():
            return folder
    needed = f"config.json and one of {', '.join(WEIGHT_FILES)}"
    raise InputError("model.hub", f"{repository}@{revision}", f"it does not have {needed}", "choose another revision")


def hub_revision(hub: HubModel, step: int | None) -> tuple[str, str]:
    """The repository and the revision of a published step, or of the final weights where `step` is None."""
    if step is None:
        return hub.repository, hub.revision
    return hub.checkpoint_repository or hub.repository, step_revision(hub, step)


def step_revision(hub: HubModel, step: int) -> str:
    """The revision of a published step: the name it has of its own, or the one that the pattern of its model gives."""
    if step in hub.revisions:
        return hub.revisions[step]
    name = hub.checkpoint_revision.replace("{step}", str(step))
    if "{billion_tokens}" in name:
        name = name.replace("{billion_tokens}", str(math.ceil(step * hub.tokens_per_step / 10**9)))
    return name


def hub_tokenizer(model: ModelConfig) -> Path:
    """The snapshot with the tokenizer of a model of the hub: that of its final weights, unless it names another repository.

    The repositories of training steps need not have one.
    """
    hub = model.hub
    revision = hub.revision if hub.tokenizer_repository in (None, hub.repository) else "main"
    patterns = (*TOKENIZER_FILES, "config.json", *code_files(model))
    return snapshot(hub.tokenizer_repository or hub.repository, revision, patterns)


def code_files(model: ModelConfig) -> tuple[str, ...]:
    """Python files are downloaded only to be run, and run only where the user trusts them."""
    return CODE_FILES if model.trust_remote_code else ()


def hub_commit(model: ModelConfig, folder: Path) -> str | None:
    """The commit of a snapshot, which its folder is named after; None for a model that is not of the hub."""
    return folder.name if model.hub else None


def warn_of_known_faults(model: ModelConfig, checkpoint: CheckpointConfig) -> None:
    """Log what is known to be wrong with the weights that were published for this step."""
    fault = model.hub.known_bad.get(checkpoint.step) if model.hub else None
    if fault:
        log.warning("the weights published as step %s of %s: %s", checkpoint.step, model.name, fault)


def training_step(recipe: Recipe | None, checkpoint: CheckpointConfig) -> int | None:
    """The step a checkpoint stands for, or None where the model does not say at which step it was final."""
    return max(recipe.steps) if recipe and checkpoint.step is None else checkpoint.step


def training_tokens(recipe: Recipe | None, checkpoint: CheckpointConfig, hub: HubModel | None = None) -> int | None:
    """How many tokens a checkpoint was trained on, or None where nothing says so."""
    tokens_per_step = recipe.batch_size * recipe.window if recipe else hub and hub.tokens_per_step
    step = training_step(recipe, checkpoint)
    return None if step is None or tokens_per_step is None else step * tokens_per_step


def grown_folder(name: str, recipe: Recipe, cache: Path) -> Path:
    """The folder of a model that is grown, whether it is there or not.

    Its name says what it is grown from: the recipe, the miniature world, and the libraries that do the arithmetic.
    """
    recipe_values = {**asdict(recipe), "architecture": recipe.architecture.value}
    libraries = [module.__version__ for module in (torch, transformers, tokenizers)]
    content = fingerprint([recipe_values, files_fingerprint(world_files()), libraries])
    return cache / "models" / f"{name}-{content}"


def grown_model(name: str, recipe: Recipe, cache: Path) -> Path:
    """The folder with one `step<N>` per published step of a recipe, grown on first use."""
    folder = grown_folder(name, recipe, cache)
    with made_once(folder) as partial:
        if partial:
            from lf_experiments.models.nano.growth import grow

            grow(recipe, partial, name)
    return folder


def weight_fingerprint(folder: Path) -> str:
    """A name of the weights in a checkpoint folder, made of the content of their files; equal for duplicated checkpoints.

    Pickles that lie beside safetensors are not read, here and in loading.
    """
    return files_fingerprint(matching_files(folder, SAFETENSORS) or matching_files(folder, PICKLES))


def tokenizer_fingerprint(folder: Path) -> str:
    """A name of the tokenizer in a folder, made of the content of its files."""
    return files_fingerprint(matching_files(folder, TOKENIZER_FILES))


def matching_files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder that match any of the patterns, sorted by name."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
