"""Checkpoints: the folder that holds a model at a training step, downloaded or grown where it is not there yet."""

from __future__ import annotations

import glob
import logging
import math
from dataclasses import asdict
from pathlib import Path

import tokenizers
import torch
import transformers

from lf_experiments.config.schema import CheckpointConfig, Config, HubModel, ModelConfig, Recipe
from lf_experiments.corpora.miniature.world import world_files
from lf_experiments.errors import InputError
from lf_experiments.hub import fetch_snapshot
from lf_experiments.models.files import (
    CODE_FILES,
    CONFIGURATION_FILES,
    PICKLES,
    PICKLES_INDEX,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    TOKENIZER_FILES,
    WEIGHT_FILES,
    is_gguf,
    matching_files,
    weight_map,
)
from lf_experiments.models.nano.gradients import HALVES
from lf_experiments.models.quantized import refuse_missing_gguf_package
from lf_experiments.storage import files_fingerprint, fingerprint, made_once

log = logging.getLogger(__name__)


def fetch_checkpoint(config: Config) -> Path:
    """The folder, or GGUF file, of the configured model at the configured step: downloads or grows it if it is not there.

    Raises `InputError` for a local folder without a model, and for a repository that does not give the weights.
    """
    if config.model.hub:
        return fetch_hub_weights(config.model, config.checkpoint.step)
    if config.model.recipe:
        model = grow_once(config.model.name, config.model.recipe, config.cache_folder)
        return model / f"step{training_step(config.model.recipe, config.checkpoint)}"
    folder = Path(config.model.path).expanduser()
    if is_gguf(folder):
        refuse_missing_gguf_package(folder)
    elif not (folder / "config.json").is_file():
        problem = "it has no config.json" if folder.is_dir() else "there is no such folder"
        raise InputError("model.path", config.model.path, problem, "give a folder in Hugging Face layout, or a .gguf file")
    return folder


def fetch_hub_weights(model: ModelConfig, step: int | None) -> Path:
    """Download a model of the hub at a published step, or its final weights where `step` is None; returns the snapshot.

    Weights come as safetensors, and as pickles only from a repository that has nothing else, in files with the usual names or
    with those that an index gives them.
    """
    repository, revision = hub_revision(model.hub, step)
    others = (*CONFIGURATION_FILES, *code_files(model))
    for weights, index in ((SAFETENSORS, SAFETENSORS_INDEX), (PICKLES, PICKLES_INDEX)):
        folder = fetch_snapshot(repository, revision, (*weights, *others))
        parts = set(weight_map(folder, index).values())
        if any(not (folder / part).is_file() for part in parts):
            folder = fetch_snapshot(repository, revision, (*weights, *others, *map(glob.escape, sorted(parts))))
        if (parts or matching_files(folder, weights)) and (folder / "config.json").is_file():
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
    for billions, rounded in (("{billion_tokens}", math.ceil), ("{full_billion_tokens}", math.floor)):
        if billions in name:
            name = name.replace(billions, str(rounded(step * hub.tokens_per_step / 10**9)))
    return name


def fetch_hub_tokenizer(model: ModelConfig) -> Path:
    """Download the tokenizer of a model of the hub: that of its final weights, unless it names another repository.

    The repositories of training steps need not have one.
    """
    return fetch_snapshot(*tokenizer_revision(model.hub), (*TOKENIZER_FILES, "config.json", *code_files(model)))


def tokenizer_revision(hub: HubModel) -> tuple[str, str]:
    """The repository and the revision of the tokenizer."""
    is_own = hub.tokenizer_repository in (None, hub.repository)
    return hub.tokenizer_repository or hub.repository, hub.revision if is_own else "main"


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
    of_hub = hub.tokens_per_step if hub else None
    tokens_per_step = recipe.batch_size * recipe.window if recipe else of_hub
    step = training_step(recipe, checkpoint)
    return None if step is None or tokens_per_step is None else step * tokens_per_step


def grown_folder(name: str, recipe: Recipe, cache: Path) -> Path:
    """The folder of a model that is grown, whether it is there or not.

    Its name says what it is grown from: the recipe, the miniature world, the libraries that do the arithmetic, and its order.
    """
    recipe_values = {**asdict(recipe), "architecture": recipe.architecture.value}
    libraries = [module.__version__ for module in (torch, transformers, tokenizers)]
    content = fingerprint([recipe_values, files_fingerprint(world_files()), libraries, HALVES])
    return cache / "models" / f"{name}-{content}"


def grow_once(name: str, recipe: Recipe, cache: Path) -> Path:
    """Grow the model of a recipe unless that was done before; returns the folder with one `step<N>` per published step.

    A full disk raises an `OSError` with the folder.
    """
    folder = grown_folder(name, recipe, cache)
    with made_once(folder) as partial:
        if partial:
            from lf_experiments.models.nano.growth import grow

            grow(recipe, partial, name)
    return folder
