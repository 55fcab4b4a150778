"""The configuration: one typed schema for every YAML file, and the checks of what only fits together.

Hydra composes `conf/` against `Config`; `read_config` turns the result into plain dataclasses, once, at the boundary.
A docstring under a field says what the field means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class InputError(Exception):
    """Something a user gave cannot be used. The message names the key, its value, what is wrong and the remedy."""

    def __init__(self, key: str, value: object, problem: str, remedy: str) -> None:
        super().__init__(f"{key}={value}: {problem}\nRemedy: {remedy}")


class Architecture(Enum):
    """The two kinds of MLP of the paper's section 2: GELU neurons and SwiGLU neurons."""

    bloom = "bloom"
    llama = "llama"


class Dtype(Enum):
    """The number format of the weights; `auto` takes the one they are stored in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Source(Enum):
    """Where sentences or text come from: the bundled world, or a folder with one `<code>.txt` per language."""

    miniature = "miniature"
    files = "files"


class Windows(Enum):
    """How text is cut for perplexity: joined documents in equal windows (the paper's way), or each document by itself."""

    joined = "joined"
    documents = "documents"


class Tracker(Enum):
    """Where a run is mirrored to, beside its folder."""

    wandb = "wandb"
    none = "none"


class TrackingMode(Enum):
    """`auto` goes online where wandb has credentials and offline where it has none."""

    auto = "auto"
    online = "online"
    offline = "offline"


class Stage(Enum):
    """The stages of a study, in their order (`study.py`)."""

    capture = "capture"
    compare = "compare"
    probe = "probe"
    deactivate = "deactivate"
    report = "report"


@dataclass
class Recipe:
    """How a tiny model is grown: its architecture, what it reads, and the training steps that are published."""

    architecture: Architecture = MISSING
    hidden_size: int = MISSING
    """Width of the residual stream; a layer has four times as many neurons."""
    layers: int = MISSING
    heads: int = MISSING
    vocabulary: int = MISSING
    """Entries of the byte-level BPE tokenizer, the 256 bytes included."""
    window: int = 128
    """Tokens per training window."""
    batch_size: int = 16
    """Windows per training step."""
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    switch_probability: float = 0.6
    """How often a training story goes on in another language after a sentence."""
    cue_probability: float = 0.4
    """How often a training story announces the language of its last sentence."""
    steps: list[int] = field(default_factory=list)
    """The published training steps; the last one ends the growth."""
    seed: int = 0
    """Of the weights and the training text: a fact of the model, apart from the seed of the analysis."""


@dataclass
class HubModel:
    """Where a model is on the Hugging Face hub, and which of its training steps are published there."""

    repository: str = MISSING
    """The repository of the final weights, `organisation/name`."""
    revision: str = "main"
    """The branch, tag or commit of the final weights."""
    checkpoint_repository: str | None = None
    """The repository of the training steps; by default that of the final weights."""
    checkpoint_revision: str | None = None
    """What the revision of a training step is called there, with `{step}` for its number, such as `global_step{step}`."""
    steps: list[int] = field(default_factory=list)
    """The published training steps; none for a model that has only its final weights."""
    tokens_per_step: int | None = None
    """Tokens the model was trained on in one step, where that is known."""
    tokenizer_repository: str | None = None
    """The repository of the tokenizer; by default that of the final weights, also for the training steps."""
    known_bad: dict[int, str] = field(default_factory=dict)
    """Published steps that are known or reported not to be what they should, and why; a run warns of them."""


@dataclass
class ModelConfig:
    """The model under study: a local folder (`path`), a tiny model grown on the spot (`recipe`), or one of the hub (`hub`)."""

    name: str = MISSING
    path: str | None = None
    """A folder in Hugging Face layout: config, weights and, unless `tokenizer` names another, the tokenizer."""
    recipe: Recipe | None = None
    hub: HubModel | None = None
    tokenizer: str | None = None
    """The folder of the tokenizer; by default that of the model, or what `hub` says."""
    dtype: Dtype = Dtype.auto
    device_map: Any = None
    """Placement as in transformers: null (one device), auto, balanced, a device, or a dict of modules."""
    context: int | None = None
    """Tokens the model was trained to read at once; by default what its configuration says."""
    add_special_tokens: bool = False
    """Whether the tokenizer adds its special tokens; the paper's activations are without."""
    trust_remote_code: bool = False
    """Whether Python code found in the model's folder may be run."""

    @property
    def published_steps(self) -> list[int]:
        """The training steps there are of this model; none where only its final weights are known."""
        place = self.recipe or self.hub
        return sorted(place.steps) if place else []


@dataclass
class CheckpointConfig:
    """The moment of training: a published step, or null for the final weights."""

    step: int | None = MISSING


@dataclass
class LanguageSetConfig:
    """The languages under study, in the order of the similarity map."""

    languages: list[str] = MISSING


@dataclass
class DatasetConfig:
    """The parallel corpus that activates the neurons (sec. 3.1)."""

    name: str = MISSING
    source: Source = MISSING
    root: str | None = None
    """For files: the folder with one `<code>.txt` per language, line i of each a translation of line i of the others."""
    sentences: int = 100
    """Sentences per language, drawn at random with the seed; the same meanings in all languages."""
    licence: str = ""


@dataclass
class TextConfig:
    """The monolingual text whose perplexity shows what a deactivation costs (sec. 4.3)."""

    name: str = MISSING
    source: Source = MISSING
    root: str | None = None
    """For files: the folder with one `<code>.txt` per language, documents separated by a blank line."""
    windows: Windows = Windows.joined
    window: int | None = None
    """Tokens per window; by default the context of the model."""
    licence: str = ""


@dataclass
class ProbeConfig:
    """How key neurons are chosen (sec. 3.3)."""

    name: str = MISSING
    threshold: float = 2.0
    """A neuron is key for a language when its z-score (eq. 12) exceeds this."""


@dataclass
class ControlConfig:
    """Random neurons switched off for comparison, as many as the largest key region has."""

    draws: int = 1


@dataclass
class RuntimeConfig:
    """How the work is done; nothing here changes a result beyond rounding."""

    batch_tokens: int = 4096
    """Tokens per forward pass, padding included."""


@dataclass
class CacheConfig:
    """Grown models and captured activations, kept between runs and named by their content."""

    enabled: bool = True
    """Whether captured activations are kept and reused; grown models always are."""
    dir: str = MISSING
    max_gib: float = 20.0
    """The captures that were not used for longest go when all take more than this."""
    evict_hub: bool = False
    """Whether the downloaded weights of a hub model are removed once its run is done: eight steps of BLOOM-7B1 are 113 GB."""


@dataclass
class TrackingConfig:
    """The mirror of a run in a tracking service."""

    tracker: Tracker = MISSING
    mode: TrackingMode = TrackingMode.auto
    project: str = "lf_experiments"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class Config:
    """Everything a run depends on."""

    model: ModelConfig = MISSING
    checkpoint: CheckpointConfig = MISSING
    language_set: LanguageSetConfig = MISSING
    dataset: DatasetConfig = MISSING
    text: TextConfig = MISSING
    probe: ProbeConfig = MISSING
    tracking: TrackingConfig = MISSING
    control: ControlConfig = field(default_factory=ControlConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    stages: list[Stage] = field(default_factory=lambda: list(Stage))
    seed: int = 0
    """Of the draw of sentences and of the random controls."""

    @property
    def languages(self) -> list[str]:
        """The codes of the languages under study, in map order."""
        return self.language_set.languages

    @property
    def cache_folder(self) -> Path:
        """Where grown models and captures are kept."""
        return Path(self.cache.dir).expanduser()


def read_config(composed: DictConfig) -> Config:
    """The composed configuration as plain, checked dataclasses.

    Merging into the schema once more refuses keys that `+key=value` slipped in.
    Raises `InputError` for anything that cannot be run.
    """
    for key in sorted(OmegaConf.missing_keys(composed)):
        raise InputError(key, "???", "this choice needs a value and has no default", f"give {key}=VALUE")
    values = OmegaConf.to_container(composed, resolve=True)
    try:
        config: Config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), values))
    except OmegaConfBaseException as error:
        value = OmegaConf.select(OmegaConf.create(values), error.full_key)
        problem = str(error).splitlines()[0]
        remedy = "`python -m lf_experiments --cfg job` shows the keys there are"
        raise InputError(error.full_key, value, problem, remedy) from error
    check(config)
    return config


def check(config: Config) -> None:
    """Raise `InputError` where single values are sound but cannot work together."""
    check_languages(config.languages)
    check_model(config.model, config.checkpoint)
    check_threshold(config.probe.threshold, len(config.languages))
    check_stages(config.stages)
    for key, corpus in (("dataset", config.dataset), ("text", config.text)):
        if corpus.source is Source.files and not corpus.root:
            raise InputError(
                f"{key}.root", "null", "the folder with one <code>.txt per language is missing", f"give {key}.root=FOLDER"
            )
    at_least("dataset.sentences", config.dataset.sentences, 2)
    at_least("control.draws", config.control.draws, 0)
    at_least("runtime.batch_tokens", config.runtime.batch_tokens, 1)
    if config.text.window is not None:
        at_least("text.window", config.text.window, 2)


def check_languages(languages: list[str]) -> None:
    if len(set(languages)) != len(languages) or len(languages) < 2:
        raise InputError(
            "language_set.languages", languages, "two or more different languages are needed", "name each language once"
        )


def check_model(model: ModelConfig, checkpoint: CheckpointConfig) -> None:
    if sum(place is not None for place in (model.path, model.recipe, model.hub)) != 1:
        raise InputError(
            "model.path",
            model.path or "null",
            "a model is either a folder in Hugging Face layout, a recipe or a repository of the hub, and needs one of them",
            "give model=local model.path=FOLDER, or choose another model by its name",
        )
    if model.hub and model.hub.steps and "{step}" not in (model.hub.checkpoint_revision or ""):
        raise InputError(
            "model.hub.checkpoint_revision",
            model.hub.checkpoint_revision or "null",
            "it does not say what the revision of a training step is called",
            "put {step} where its number stands, as in global_step{step}",
        )
    published = model.published_steps
    if checkpoint.step is not None and checkpoint.step not in published:
        choices = f"its steps are {', '.join(map(str, published))}" if published else "it has only its final weights"
        raise InputError(
            "checkpoint.step",
            checkpoint.step,
            f"{model.name} never published this step",
            f"{choices}; checkpoint=final is the last",
        )


def check_threshold(threshold: float, languages: int) -> None:
    largest = math.sqrt(languages - 1)
    if threshold >= largest:
        raise InputError(
            "probe.threshold",
            threshold,
            f"no z-score over {languages} languages can exceed sqrt({languages} - 1) = {largest:.3f}; nothing would be key",
            f"choose a threshold below {largest:.3f}, or more languages",
        )


def check_stages(stages: list[Stage]) -> None:
    order = [stage for stage in Stage if stage in stages]
    if stages != order or not stages:
        names = [stage.name for stage in stages]
        raise InputError(
            "stages",
            names,
            "stages are named once each and in order",
            f"the order is {', '.join(stage.name for stage in Stage)}",
        )


def at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(key, value, f"at least {least} is needed", f"give {key}={least} or more")
