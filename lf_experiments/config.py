"""The configuration: one typed schema for every YAML file, and the checks of what only fits together.

Hydra composes `conf/` against `Config`; `read_config` turns the result into plain dataclasses, once, at the boundary.
A docstring under a field says what the field means.
"""

from __future__ import annotations

import math
import re
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
        self.parts = key, str(value), problem, remedy

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        return type(self), self.parts


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


class Quantization(Enum):
    """Weights in fewer bits than they were trained in, through bitsandbytes; activations move away from the model's own."""

    int8 = "int8"
    nf4 = "nf4"


class SentenceSource(Enum):
    """Where parallel sentences come from: the bundled world, a folder with a file per language, or a published corpus."""

    miniature = "miniature"
    files = "files"
    bible = "bible"
    flores = "flores"
    ntrex = "ntrex"


class TextSource(Enum):
    """Where monolingual text comes from."""

    miniature = "miniature"
    files = "files"
    xlsum = "xlsum"


class StorySource(Enum):
    """Where the stories of the cloze task come from."""

    miniature = "miniature"
    xstorycloze = "xstorycloze"


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
    cloze = "cloze"
    generate = "generate"
    report = "report"


LEAST_VOCABULARY = 258
"""Entries that a byte-level tokenizer has at least: the bytes, padding, and the end of a text."""


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
    batch_size: int = 20
    """Windows per training step."""
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    switch_probability: float = 0.8
    """How often any other training story goes on in another language after a sentence."""
    cue_probability: float = 0.5
    """How often a training story keeps its language up to its ending, and announces the language of that."""
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
    gated: bool = False
    """Whether its conditions must be accepted on its page first, then `hf auth login`."""
    checkpoint_repository: str | None = None
    """The repository of the training steps; by default that of the final weights."""
    checkpoint_revision: str | None = None
    """What the revision of a training step is called there, with `{step}` for its number, such as `global_step{step}`, and
    `{billion_tokens}` for the tokens up to it, rounded up, as in `stage1-step{step}-tokens{billion_tokens}B`."""
    steps: list[int] = field(default_factory=list)
    """The published training steps that `checkpoint_revision` names; none for a model that has only its final weights."""
    revisions: dict[int, str] = field(default_factory=dict)
    """The revisions of published training steps by name, where no pattern gives it; they need not stand in `steps` too."""
    tokens_per_step: int | None = None
    """Tokens the model was trained on in one step, where that is known and always the same."""
    tokenizer_repository: str | None = None
    """The repository of the tokenizer; by default that of the final weights, also for the training steps."""
    known_bad: dict[int, str] = field(default_factory=dict)
    """Published steps that are known or reported not to be what they should, and why; a run warns of them."""


@dataclass
class Shape:
    """What a model is made of, in the words of its config.json: enough for a plan without a download."""

    model_type: str = MISSING
    """What transformers calls the architecture."""
    layers: int = MISSING
    hidden_size: int = MISSING
    """Width of the residual stream."""
    d_ff: int = MISSING
    """Neurons of a layer: the width of what the second MLP matrix receives."""
    heads: int = MISSING
    vocabulary: int = MISSING
    """Rows of the embedding matrix."""
    parameters: int = MISSING
    """The published number of parameters, tied ones counted once."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Whatever else of config.json a plan depends on, under the names it has there."""


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
    """Placement as in transformers: auto, balanced, sequential, a device, a dict of modules; null is auto on several GPUs."""
    max_memory: Any = None
    """What each device may hold of the weights, `{0: 10GiB, cpu: 30GiB}`; the rest goes to the next, at last to disk."""
    offload_folder: str | None = None
    """Where weights go that no device can hold, unless the checkpoint itself can be read again: a folder."""
    quantization: Quantization | None = None
    """Fewer bits per weight (needs `pip install lf_experiments[quantization]` and a GPU); null is none."""
    context: int | None = None
    """Tokens the model was trained to read at once; by default what its configuration says."""
    add_special_tokens: bool = False
    """Whether the tokenizer adds its special tokens; the paper's activations are without."""
    trust_remote_code: bool = False
    """Whether Python code found in the model's folder may be run."""
    shape: Shape | None = None
    """What the model is made of, for a plan; a model of the hub is what it is, whatever this says."""

    @property
    def published_steps(self) -> list[int]:
        """The training steps there are of this model; none where only its final weights are known."""
        if self.hub:
            return sorted({*self.hub.steps, *self.hub.revisions})
        return sorted(self.recipe.steps) if self.recipe else []


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
    source: SentenceSource = MISSING
    root: str | None = None
    """The folder to read: for files one `<code>.txt` per language, line i of each a translation of line i of the others; for a
    published corpus its own files. Without it a published corpus is downloaded."""
    repository: str | None = None
    """Where a published corpus is downloaded from."""
    revision: str | None = None
    """The branch, tag or commit of that repository."""
    split: str | None = None
    """The part of the corpus, where it has several."""
    keys: dict[str, str] = field(default_factory=dict)
    """What the corpus calls a language, where it is not what languages.tsv says: {zh: zho_Hant} for the other script."""
    downloads: str | None = None
    """The folder that keeps a corpus which is downloaded from elsewhere than the Hugging Face hub."""
    sentences: int = 100
    """Sentences per language, drawn at random with the seed; the same meanings in all languages."""
    licence: str = ""


@dataclass
class TextConfig:
    """The monolingual text whose perplexity shows what a deactivation costs (sec. 4.3)."""

    name: str = MISSING
    source: TextSource = MISSING
    root: str | None = None
    """The folder to read: for files one `<code>.txt` per language, documents separated by a blank line; for a published corpus
    its own files. Without it a published corpus is downloaded."""
    repository: str | None = None
    """Where a published corpus is downloaded from."""
    revision: str | None = None
    """The branch, tag or commit of that repository."""
    split: str | None = None
    """The part of the corpus, where it has several."""
    keys: dict[str, str] = field(default_factory=dict)
    """What the corpus calls a language, where it is not what languages.tsv says: {zh: chinese_traditional}, for instance."""
    documents: int | None = None
    """The first so many documents of each language; all by default."""
    windows: Windows = Windows.joined
    window: int | None = None
    """Tokens per window; by default the context of the model, 8192 at most."""
    licence: str = ""


@dataclass
class ClozeConfig:
    """The stories whose right ending is to be told from a wrong one, in English whatever their language (sec. 4.1, app. B)."""

    name: str = MISSING
    source: StorySource = MISSING
    root: str | None = None
    """The folder of a published task with its own files. Without it the task is downloaded."""
    repository: str | None = None
    """Where a published task is downloaded from."""
    revision: str | None = None
    """The branch, tag or commit of that repository."""
    split: str | None = None
    """The part of the task, where it has several."""
    keys: dict[str, str] = field(default_factory=dict)
    """What the task calls a language, where it is not what languages.tsv says."""
    stories: int | None = None
    """The first so many stories, the same in every language; all by default."""
    regions: bool = True
    """Whether the stories are also told without each key region; else only to the whole model."""
    licence: str = ""


@dataclass
class GenerationConfig:
    """The continuations that show what the model writes without a key region (app. A)."""

    samples: int = 3
    """Sentences per language to continue: the first that were drawn."""
    tokens: int = 64
    """New tokens per continuation, the likeliest each time."""
    languages: list[str] | None = None
    """Whose sentences are continued, without the regions of the same languages; all by default."""


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
    num_processes: int = 1
    """Processes that read at the same time, each with the whole model, on its share of the GPUs there are."""


@dataclass
class PlanConfig:
    """What a run would take, said without running it: `plan=true`."""

    enabled: bool = False
    """Whether to say what the run would take, and do nothing."""
    gpus: str | None = None
    """The GPUs to plan for: 8x80GiB, or 4x24GiB,2x80GiB, in GiB, GB or MiB; by default those of this machine."""
    throughput: float | None = None
    """Floating-point operations per second of all devices together, for the estimate of the time; measured by default."""


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
    cloze: ClozeConfig = MISSING
    probe: ProbeConfig = MISSING
    tracking: TrackingConfig = MISSING
    control: ControlConfig = field(default_factory=ControlConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
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
    for key, corpus in (("dataset", config.dataset), ("text", config.text), ("cloze", config.cloze)):
        check_corpus(key, corpus)
    at_least("dataset.sentences", config.dataset.sentences, 2)
    if config.text.documents is not None:
        at_least("text.documents", config.text.documents, 1)
    if config.cloze.stories is not None:
        at_least("cloze.stories", config.cloze.stories, 1)
    at_least("control.draws", config.control.draws, 0)
    check_generation(config.generation, config.languages, config.dataset.sentences)
    at_least("runtime.batch_tokens", config.runtime.batch_tokens, 1)
    at_least("runtime.num_processes", config.runtime.num_processes, 1)
    if config.text.window is not None:
        at_least("text.window", config.text.window, 2)
    check_plan(config.plan)


def check_languages(languages: list[str]) -> None:
    if len(set(languages)) != len(languages) or len(languages) < 2:
        raise InputError(
            "language_set.languages", languages, "two or more different languages are needed", "name each language once"
        )


def check_corpus(key: str, corpus: DatasetConfig | TextConfig | ClozeConfig) -> None:
    source = corpus.source.name
    if source == "files" and not corpus.root:
        raise InputError(
            f"{key}.root", "null", "the folder with one <code>.txt per language is missing", f"give {key}.root=FOLDER"
        )
    if source in ("miniature", "files"):
        return
    if not (corpus.root or corpus.repository):
        problem = f"nothing says where {source} is"
        raise InputError(f"{key}.root", "null", problem, f"give {key}.root=FOLDER, or {key}.repository to download it from")
    if source in ("flores", "xlsum", "xstorycloze") and not corpus.split:
        raise InputError(f"{key}.split", "null", f"{source} has several parts", f"name one, as conf/{key}/{source}.yaml does")
    if source == "bible" and not (corpus.root or corpus.downloads):
        raise InputError(f"{key}.downloads", "null", "nothing says where to keep it", f"give {key}.downloads=FOLDER")


def check_model(model: ModelConfig, checkpoint: CheckpointConfig) -> None:
    if sum(place is not None for place in (model.path, model.recipe, model.hub)) != 1:
        raise InputError(
            "model.path",
            model.path or "null",
            "a model is either a folder in Hugging Face layout, a recipe or a repository of the hub, and needs one of them",
            "give model=local model.path=FOLDER, or choose another model by its name",
        )
    if model.hub:
        check_revisions(model.hub)
    if model.recipe:
        check_recipe(model.recipe)
    published = model.published_steps
    if checkpoint.step is not None and checkpoint.step not in published:
        choices = f"its steps are {in_words(published)}" if published else "it has only its final weights"
        raise InputError(
            "checkpoint.step",
            checkpoint.step,
            f"{model.name} never published this step",
            f"{choices}; checkpoint=final is the last",
        )


def check_revisions(hub: HubModel) -> None:
    """Raise `InputError` where nothing says what the revision of a published step is called."""
    pattern = hub.checkpoint_revision or ""
    unnamed = sorted(set(hub.steps) - set(hub.revisions))
    if unnamed and "{step}" not in pattern:
        raise InputError(
            "model.hub.checkpoint_revision",
            hub.checkpoint_revision or "null",
            f"it does not say what the revision of training step {unnamed[0]} is called",
            "put {step} where its number stands, as in global_step{step}, or name it in model.hub.revisions",
        )
    if unnamed and "{billion_tokens}" in pattern and hub.tokens_per_step is None:
        raise InputError(
            "model.hub.tokens_per_step",
            "null",
            f"{pattern} needs the tokens of training step {unnamed[0]}",
            "give the tokens of one step, or name its revision in model.hub.revisions",
        )


def in_words(steps: list[int]) -> str:
    """Steps one by one, and five or more at the same distance as `first to last by distance`."""
    words, start = [], 0
    while start < len(steps):
        end = start + 1
        while end < len(steps) and steps[end] - steps[end - 1] == steps[start + 1] - steps[start]:
            end += 1
        if end - start >= 5:
            words.append(f"{steps[start]} to {steps[end - 1]} by {steps[start + 1] - steps[start]}")
        else:
            words.append(str(steps[start]))
            end = start + 1
        start = end
    return ", ".join(words)


def check_recipe(recipe: Recipe) -> None:
    for name, least in (("layers", 1), ("heads", 1), ("window", 2), ("batch_size", 1), ("vocabulary", LEAST_VOCABULARY)):
        at_least(f"model.recipe.{name}", getattr(recipe, name), least)
    if not recipe.steps or min(recipe.steps) < 0:
        raise InputError(
            "model.recipe.steps", recipe.steps, "it names no step to publish", "give steps from 0 on, such as [0,100]"
        )
    if recipe.hidden_size < 1 or recipe.hidden_size % recipe.heads:
        raise InputError(
            "model.recipe.hidden_size",
            recipe.hidden_size,
            f"it does not split into {recipe.heads} heads",
            f"give a multiple of {recipe.heads}",
        )


def check_generation(generation: GenerationConfig, languages: list[str], sentences: int) -> None:
    at_least("generation.samples", generation.samples, 1)
    at_least("generation.tokens", generation.tokens, 1)
    if generation.samples > sentences:
        raise InputError(
            "generation.samples",
            generation.samples,
            f"only {sentences} sentences per language are drawn",
            f"give generation.samples={sentences} or less, or more dataset.sentences",
        )
    others = [language for language in generation.languages or [] if language not in languages]
    if others:
        raise InputError(
            "generation.languages",
            generation.languages,
            f"{', '.join(others)} is not under study",
            f"choose among {', '.join(languages)}",
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


def check_plan(plan: PlanConfig) -> None:
    if plan.gpus is not None:
        gpu_sizes(plan.gpus)
    if plan.throughput is not None and not plan.throughput > 0:
        problem = "this is no number of operations per second"
        raise InputError("plan.throughput", plan.throughput, problem, "give one, such as 3e14")


def gpu_sizes(gpus: str) -> list[int]:
    """Bytes of each of the GPUs that `plan.gpus` names. Raises `InputError` for what names none."""
    units = {"GiB": 2**30, "GB": 10**9, "MiB": 2**20}
    sizes: list[int] = []
    for kind in gpus.split(","):
        found = re.fullmatch(r"\s*([1-9]\d*)x(\d+(?:\.\d+)?)(GiB|GB|MiB)\s*", kind)
        if not found:
            problem = "GPUs are named as NUMBERxSIZE in GiB, GB or MiB, several kinds with commas between them"
            raise InputError("plan.gpus", gpus, problem, "write 8x80GiB, or '4x24GiB,2x80GiB' in quotation marks")
        count, size, unit = found.groups()
        sizes += [int(float(size) * units[unit])] * int(count)
    return sizes


def at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(key, value, f"at least {least} is needed", f"give {key}={least} or more")
