"""The configuration: one typed schema for every YAML file, with the default and the meaning of every key.

A default stands here and nowhere else. The docstring under a field is its meaning: `--help KEY` prints it, and
docs/configuration.md is generated from it (`reference.py`). Hydra composes `conf/` against `Config`; `read.py` turns the result
into plain dataclasses, once, at the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import MISSING


class Architecture(Enum):
    """The two kinds of MLP in section 2 of the paper: GELU neurons (bloom) and SwiGLU neurons (llama)."""

    bloom = "bloom"
    llama = "llama"


class Dtype(Enum):
    """The number format of the weights; `auto` keeps the one they are stored in, or float32 on a processor slow with that."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Quantization(Enum):
    """Weights in 8 or 4 bits (bitsandbytes); the activations are then only close to the model's own."""

    int8 = "int8"
    nf4 = "nf4"


class SpecialTokens(Enum):
    """How every text begins: as the model's own tokenizer begins one, or without special tokens, as in the authors' code."""

    model = "model"
    none = "none"


class Windows(Enum):
    """How text is cut for perplexity: joined documents in equal windows (the paper's way), or each document by itself."""

    joined = "joined"
    documents = "documents"


class Match(Enum):
    """What random neurons share with the key region that they are compared with, beside their number."""

    uniform = "uniform"
    layer = "layer"
    impact = "impact"


class Pool(Enum):
    """What can be kept of a neuron over the tokens of a sentence (`neurons/pooling.py`)."""

    mean = "mean"
    rate = "rate"
    magnitude = "magnitude"
    gate_rate = "gate_rate"
    impact = "impact"
    attribution = "attribution"


class TrackingMode(Enum):
    """Upload during the run (online), keep it in the run folder (offline), or online where there are credentials (auto)."""

    auto = "auto"
    online = "online"
    offline = "offline"


class Stage(Enum):
    """The stages of a study, in their order (`study/`)."""

    capture = "capture"
    compare = "compare"
    baselines = "baselines"
    probe = "probe"
    describe = "describe"
    deactivate = "deactivate"
    cloze = "cloze"
    generate = "generate"
    tasks = "tasks"
    report = "report"


class Baseline(Enum):
    """What could give a score without learning: the tokens of the sentences alone, or the model before its training."""

    tokens = "tokens"
    random_weights = "random_weights"


@dataclass
class Recipe:
    """How a tiny model is grown: its architecture, its training text, and the training steps that are published."""

    architecture: Architecture = MISSING
    """The kind of MLP."""
    hidden_size: int = MISSING
    """Width of the residual stream; each layer has four times as many neurons."""
    layers: int = MISSING
    """Number of layers."""
    heads: int = MISSING
    """Attention heads per layer."""
    vocabulary: int = MISSING
    """Entries of the byte-level BPE tokenizer, the 256 bytes included."""
    window: int = 128
    """Tokens per training window."""
    batch_size: int = 10
    """Windows per training step."""
    learning_rate: float = 5e-3
    """Highest learning rate of embeddings, biases and norms (AdamW). The three rates then fall to a tenth, along a cosine."""
    mlp_learning_rate: float = 6e-3
    """Highest learning rate of the matrices of the MLPs (AdamW)."""
    attention_learning_rate: float = 2e-2
    """Highest learning rate of the matrices of attention (Muon)."""
    weight_decay: float = 0.1
    """How much the matrices of the MLPs shrink per step, as a share of their learning rate."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises linearly."""
    cued: float = 0.4
    """Share of the training stories that announce the language of their ending, as the prompt of the story cloze does."""
    translated: float = 0.2
    """Share of the stories of which every sentence is followed by its translation."""
    switching: float = 0.2
    """Share of the stories that may change their language after a sentence; what is left are long ones in one language."""
    steps: list[int] = field(default_factory=list)
    """The published training steps, in updates; the last one ends the training."""
    seed: int = 0
    """Seed of the weights and of the training text. It belongs to the model and is independent of the seed of the analysis."""


@dataclass
class HubModel:
    """The place of a model on the Hugging Face hub, and its published training steps."""

    repository: str = MISSING
    """The repository of the final weights, `organisation/name`."""
    revision: str = "main"
    """The branch, tag or commit of the final weights."""
    gated: bool = False
    """Whether the conditions of the repository must be accepted on its page first, followed by `hf auth login`."""
    checkpoint_repository: str | None = None
    """The repository of the training steps; null for that of the final weights."""
    checkpoint_revision: str | None = None
    """The revision of a training step, with `{step}` for its number, such as `global_step{step}`, and `{billion_tokens}` for
    the tokens up to it in billions, rounded up, as in `stage1-step{step}-tokens{billion_tokens}B`; rounded down they are
    `{full_billion_tokens}`."""
    steps: list[int] = field(default_factory=list)
    """The published training steps that `checkpoint_revision` names; empty for a model with final weights only."""
    revisions: dict[int, str] = field(default_factory=dict)
    """{step: revision} for published training steps whose revision follows no pattern; `steps` need not repeat them."""
    tokens_per_step: int | None = None
    """Training tokens per step, where that number is known and constant."""
    tokenizer_repository: str | None = None
    """The repository of the tokenizer, for the training steps too; null for that of the final weights."""
    known_bad: dict[int, str] = field(default_factory=dict)
    """{step: reason} for published steps with known or reported faults; a run on one of them logs a warning."""


@dataclass
class Shape:
    """The sizes of a model, as in its config.json: enough for a plan without a download."""

    model_type: str = MISSING
    """The name of the architecture in transformers."""
    layers: int = MISSING
    """Number of layers."""
    hidden_size: int = MISSING
    """Width of the residual stream."""
    d_ff: int = MISSING
    """Neurons per layer: the width of the input of the second MLP matrix; of a mixture of experts, neurons of one expert."""
    heads: int = MISSING
    """Attention heads per layer."""
    vocabulary: int = MISSING
    """Rows of the embedding matrix."""
    parameters: int = MISSING
    """Published number of parameters, tied ones counted once."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Other entries of config.json that a plan depends on, under the names they have there."""


@dataclass
class ModelConfig:
    """The model under study: a local folder (`path`), a model of the hub (`hub`), or one grown on first use (`recipe`)."""

    name: str = MISSING
    """The name in results and figures."""
    family: str | None = None
    """Models of one family differ in size alone and share a line in figures over model size; null for a model by itself."""
    path: str | None = None
    """A folder in Hugging Face layout: config, weights and, unless `tokenizer` names another folder, the tokenizer. Or a GGUF
    file, which has all three (needs `pip install 'lf_experiments[gguf]'`); its weights are read as float32."""
    recipe: Recipe | None = None
    """The recipe of a tiny model, grown on first use and then kept."""
    hub: HubModel | None = None
    """The place of the model on the Hugging Face hub."""
    tokenizer: str | None = None
    """The folder of the tokenizer; null for that of the model, or for what `hub` says."""
    dtype: Dtype = Dtype.auto
    """The number format of the weights in memory."""
    device_map: Any = None
    """Placement as in transformers: auto, balanced, sequential, a device, or {module: device}; null is auto on several GPUs."""
    max_memory: Any = None
    """Memory per device for weights, `{0: 10GiB, cpu: 30GiB}`; the rest goes to the next device, in the end to disk."""
    offload_folder: str | None = None
    """The folder for weights that fit on no device; needed only where the checkpoint is not in safetensors."""
    quantization: Quantization | None = None
    """Fewer bits per weight (needs `pip install 'lf_experiments[quantization]'` and a GPU); null for none."""
    context: int | None = None
    """Longest input in tokens; null for what the configuration of the model says."""
    special_tokens: SpecialTokens = SpecialTokens.model
    """How every text begins: `model`, with what the model's tokenizer puts before one, such as `<bos>` (it is read, but not
    averaged, predicted or counted); `none`, without, as in the authors' code."""
    add_special_tokens: Any = None
    """Retired: `special_tokens`."""
    trust_remote_code: bool = False
    """Whether Python code from the folder or the repository of the model may run."""
    shape: Shape | None = None
    """The sizes of the model, for a plan only: a run takes them from the model itself."""

    @property
    def published_steps(self) -> list[int]:
        """The published training steps, ascending; empty where only the final weights are known."""
        if self.hub:
            return sorted({*self.hub.steps, *self.hub.revisions})
        return sorted(self.recipe.steps) if self.recipe else []


@dataclass
class CheckpointConfig:
    """The moment of training: `final`, or `step<N>` for any step that the model has published."""

    step: int | None = MISSING
    """The training step; null for the final weights."""


@dataclass
class LanguageSetConfig:
    """The languages under study."""

    languages: list[str] = MISSING
    """Language codes, in the order of the similarity map."""


@dataclass
class CorpusConfig:
    """What the three groups of corpora share: `dataset`, `text` and `cloze` (docs/data.md)."""

    name: str = MISSING
    """The name in results and reports."""
    source: str = MISSING
    """The reader: a module of `corpora/parallel`, `corpora/text` or `corpora/stories` by its name, or your own
    `module:function`."""
    root: str | None = None
    """The folder to read instead of a download: the corpus's own files; for `files` one `<code>.txt` per language."""
    repository: str | None = None
    """The repository to download from."""
    revision: str | None = None
    """The branch, tag or commit of that repository."""
    split: str | None = None
    """The part of the corpus, where it has several."""
    keys: dict[str, str] = field(default_factory=dict)
    """The corpus's own name of a language, where languages.tsv has none or another one: {zh: zho_Hant} for the other script."""
    downloads: str | None = None
    """The folder for downloads from GitHub; those from the Hugging Face hub are in its own cache."""
    licence: str = ""
    """The licence of the corpus, for the report."""


@dataclass
class DatasetConfig(CorpusConfig):
    """The parallel corpus that activates the neurons (sec. 3.1)."""

    sentences: int = 100
    """Sentences per language, drawn at random with the seed; the same meanings in all languages."""


@dataclass
class TextConfig(CorpusConfig):
    """The monolingual text whose perplexity shows the cost of a deactivation (sec. 4.3)."""

    documents: int | None = None
    """Only the first so many documents of each language; all by default."""
    held_out: bool = False
    """Leave out every document that holds one of the sentences of `dataset` that activate the neurons, word for word."""
    windows: Windows = Windows.joined
    """Documents joined and cut into equal windows, the last part dropped (the paper), or each document by itself."""
    window: int | None = None
    """Tokens per window; by default the context of the model, 8192 at most."""
    window_count: int | None = None
    """Only so many windows of each language, evenly spread over its text; all by default."""


@dataclass
class ClozeConfig(CorpusConfig):
    """The stories with a right and a wrong ending, in English whatever the language of the story (sec. 4.1, app. B)."""

    stories: int | None = None
    """Only the first so many stories, the same in every language; all by default."""
    regions: bool = True
    """Evaluate without each key region too, not only the whole model."""


@dataclass
class GenerationConfig:
    """Greedy continuations of the first sentences, with and without each key region (app. A)."""

    samples: int = 3
    """Sentences per language to continue: the first ones drawn."""
    tokens: int = 64
    """New tokens per continuation."""
    languages: list[str] | None = None
    """The languages whose sentences are continued and whose regions are switched off; null for all."""


@dataclass
class ProbeConfig:
    """The method that selects key neurons (sec. 3.3)."""

    name: str = MISSING
    """One of the methods in `measures/probes`, or `module:function` for your own."""
    threshold: float = 2.0
    """A neuron is key for a language if the score of the method exceeds this; for `zscore` that is z (eq. 12)."""
    budget: str = "threshold"
    """How many neurons a region has: `threshold`, all that exceed it; `top:<share>`, this share of all neurons, those with the
    highest scores; `as:<method>`, as many for each language as another method finds at its own threshold: `as:zscore`."""
    weight: float = 1.0
    """For `lape_lambda`, what the highest rate of a neuron weighs beside the evenness of its rates."""
    path: str | None = None
    """For `file`, the file with the neurons of every language."""
    meanings: float = 1.0
    """The share of the meanings, drawn with the seed, that regions are found on; halves (`uncertainty.halves`) are of all."""
    keep_scores: bool = False
    """Keep what every neuron is selected by, for every language, so that methods can be compared neuron by neuron."""
    replicated: bool = False
    """Keep only key neurons that at least 90 % of the halves of the sentences select (`uncertainty.halves`); only these are
    then switched off."""


@dataclass
class DescriptionConfig:
    """The key neurons that are described: when they are active, and what they write."""

    neurons: int = 12
    """Key neurons per language, those with the highest scores; 0 for none."""


@dataclass
class UncertaintyConfig:
    """What stands beside every number: its interval, its value under shuffled labels, and how it replicates (docs/trust.md)."""

    level: float | None = 0.95
    """The probability with which an interval holds the true value; null for no intervals."""
    permutations: int = 100
    """How often the labels of the sentences are shuffled, to see what a score is without the thing it measures; 0 for never."""
    halves: int = 20
    """How often the meanings are split into two halves, to see whether both give the same key neurons; 0 for never."""
    over_languages: bool = False
    """Give LRDS, SADS and their companions a second interval, that of other languages of the same kind in place of these."""


@dataclass
class InterventionConfig:
    """What is done to the neurons of a region (sec. 4.3)."""

    name: str = MISSING
    """One of the interventions in `neurons/interventions.py`, or `module:function` for your own."""
    doses: list[float] = field(default_factory=lambda: [1.0])
    """How much of it: 0 leaves the neurons as they are, 1 is the whole intervention. Perplexity is measured at every dose, the
    other evaluations at the largest."""
    fraction: float = 1.0
    """The share of each region that is changed: its neurons with the highest scores, above 0 and at most 1."""


@dataclass
class ControlConfig:
    """Random neurons switched off for comparison."""

    match: Match = Match.impact
    """What random neurons share with the key region beside which they stand: `impact`, their number in every layer and there
    how strongly they act (mean activity times outgoing weight); `layer`, their number in every layer; `uniform`, the paper's
    control, as many as the largest region has from the whole model, for all languages."""
    draws: int = 5
    """Draws of random neurons: for each key region so many that match it; of `uniform` so many in all."""
    paper: int = 0
    """Draws of the paper's own control, `uniform`, beside those that match."""


@dataclass
class RuntimeConfig:
    """How the work is done. Nothing here changes a result beyond rounding."""

    batch_tokens: int = 4096
    """Tokens per forward pass, padding included."""
    num_processes: int = 1
    """Copies of the model, on equal shares of the GPUs, that divide the texts between them; each has a process of its own."""
    tensor_parallel: int = 1
    """GPUs, each with a process of its own, that share every layer of a copy of the model and compute it together."""


@dataclass
class HardwareConfig:
    """The machine that `plan=true` assumes."""

    gpus: str | None = None
    """GPUs as NUMBERxSIZE in GiB, GB or MiB: 8x80GiB, or '4x24GiB,2x80GiB' in quotes; null for those of this machine."""
    throughput: float | None = None
    """Floating-point operations per second of all devices together, such as 3e14; null to measure it here."""


@dataclass
class CacheConfig:
    """Grown models, captured activations and evaluated cells, kept between runs and named by their content."""

    enabled: bool = True
    """Whether activations, and what was evaluated under an intervention, are kept and reused; grown models always are."""
    dir: str = MISSING
    """The folder; by default that of the environment variable LF_EXPERIMENTS_CACHE, else ~/.cache/lf_experiments."""
    max_gib: float = 20.0
    """Total size of what is kept, grown models aside, in GiB; above it what was not used for longest is removed."""
    pools: list[Pool] = field(default_factory=list)
    """What to keep of every neuron beside what the run reads, in the same pass: runs with other probes find it then."""
    evict_hub: bool = False
    """Whether downloaded weights are removed once the run is done: eight steps of BLOOM-7B1 are 113 GB."""


@dataclass
class TrackingConfig:
    """The mirror of a run in a tracking service."""

    tracker: str = MISSING
    """The service: wandb, trackio, none, or `module:function` for your own."""
    mode: TrackingMode = TrackingMode.auto
    """Whether the run is uploaded."""
    project: str = "lf_experiments"
    """The project that the run is filed under."""
    entity: str | None = None
    """The user or team; null for the default of the account."""
    group: str | None = None
    """The group of the run; null for the name of the sweep."""
    tags: list[str] = field(default_factory=list)
    """Tags of the run."""


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
    intervention: InterventionConfig = MISSING
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    tracking: TrackingConfig = MISSING
    control: ControlConfig = field(default_factory=ControlConfig)
    description: DescriptionConfig = field(default_factory=DescriptionConfig)
    """The strongest key neurons of every language."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    stages: list[Stage] = field(default_factory=lambda: list(Stage))
    """The stages to run, in this order; a stage whose results are there with the same inputs is skipped."""
    measures: list[str] = field(default_factory=list)
    """Measures of alignment of your own, as `module:function`, beside those of `measures/alignment`."""
    baselines: list[Baseline] = field(default_factory=lambda: list(Baseline))
    """What the scores are compared with, on the same sentences: `tokens`, the token ids alone; `random_weights`, the model with
    the weights it would start its training from."""
    tasks: list[str] = field(default_factory=list)
    """Tasks of lm_eval to run under each intervention, by name or as the path of a YAML file."""
    export: str | None = None
    """A folder for other programs: the key regions in two layouts, and the model without each of them, ready to be loaded."""
    seed: int = 0
    """Seed of everything drawn at random: sentences, random regions, shuffled labels, halves and random weights."""
    plan: bool = False
    """Print the memory, disk and time the run would take, and do nothing."""
    overwrite: bool = False
    """Allow a run to replace results of other inputs in its folder."""

    @property
    def languages(self) -> list[str]:
        """The codes of the languages under study, in map order."""
        return self.language_set.languages

    @property
    def cache_folder(self) -> Path:
        """The folder of grown models and captures."""
        return Path(self.cache.dir).expanduser()
