"""What a run would take of memory and disk. The numbers of copies were measured on tiny models, on a processor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lf_experiments.config import Config, Stage
from lf_experiments.evaluations.perplexity import CHUNK_LOGITS, LONGEST_WINDOW
from lf_experiments.evaluations.story_cloze import HELD_LOGITS
from lf_experiments.models.load import Reader
from lf_experiments.plan.model import PlannedModel
from lf_experiments.plan.placement import Device
from lf_experiments.plan.reading import Batch, Reading, batches, capture_batches
from lf_experiments.plan.work import head_width

FLOAT32, FLOAT64 = 4, 8

NEURON_COPIES, BLOOM_NEURON_COPIES = 4, 7
"""Tensors as wide as the neurons that a forward pass holds at once; BLOOM's GELU is written out, step by step."""
RESIDUAL_COPIES = 6
"""Tensors as wide as the residual stream that it holds."""
SCORE_BYTES = 20
"""What eager attention takes for every pair of positions in every head: its scores, and what it makes of them."""
LOGIT_COPIES = 3
"""The logits of a chunk, as they are, in float32, and as log-probabilities."""
MAP_COPIES = 8
"""Tensors of float64 as large as the similarity map, while LRDS and SADS are computed."""
ACTIVATION_COPIES = 3
"""Tensors of float64 as large as the activations of one layer, while regions are probed."""
SCORE_COPIES = 5
"""Tensors of float64 as large as all scores of eq. (11), while regions are probed."""

LATER_BYTES = 80 << 20
"""Of libraries that a run loads and a plan does not, and of what they set up for the first batch."""
REPORT_BYTES = 150 << 20
"""The libraries that draw, and their figures."""

KEY_NEURON_BYTES = 25
"""Of a row of `key_neurons.parquet`."""
CAPTURE_HEADER_BYTES = 256
"""Of a file of activations, with its digest."""
NUMPY_HEADER_BYTES = 128
OTHER_BYTES = 5 << 20
"""Tables, figures and report of nine languages with a hundred sentences each."""


@dataclass(frozen=True)
class Amount:
    """Bytes of something, and what they are."""

    name: str
    bytes: int
    note: str = ""


# Memory -----------------------------------------------------------------------------------------------------------------


def working_bytes(config: Config, reader: Reader, read: Reading, bytes_per_weight: int) -> int:
    """What the largest batch takes beside the weights, on the device that computes it."""
    layer = max(batch_bytes(reader, batch, bytes_per_weight) for batch in all_batches(config, reader, read))
    kept = generation_bytes(config, reader, read, bytes_per_weight) if Stage.generate in config.stages else 0
    return max(layer, kept, logit_bytes(config, reader, read, bytes_per_weight))


def all_batches(config: Config, reader: Reader, read: Reading) -> list[Batch]:
    """The batches of every stage. Text that is not known is taken to fill whole windows."""
    budget, processes = config.runtime.batch_tokens, config.runtime.num_processes
    found = capture_batches(config, read, reader.num_neurons)
    found += [batch for lengths in read.windows.values() for batch in batches(lengths, budget, processes)]
    size = config.text.window or (reader.context and min(reader.context, LONGEST_WINDOW))
    if Stage.deactivate in config.stages and not read.windows and size:
        found.append((max(1, budget // size), size))
    return [*found, *read.stories, *read.prompts]


def batch_bytes(reader: Reader, batch: Batch, bytes_per_weight: int) -> int:
    """What a layer holds while it computes a batch."""
    config = reader.model.config.get_text_config()
    rows, tokens = batch
    neuron_copies = BLOOM_NEURON_COPIES if config.model_type == "bloom" else NEURON_COPIES
    wide = neuron_copies * reader.num_neurons_per_layer + RESIDUAL_COPIES * config.hidden_size
    is_eager = reader.model.config._attn_implementation == "eager"
    scores = SCORE_BYTES * rows * tokens**2 * config.num_attention_heads if is_eager else 0
    return rows * tokens * wide * bytes_per_weight + scores


def generation_bytes(config: Config, reader: Reader, read: Reading, bytes_per_weight: int) -> int:
    """The keys and values of all layers and positions, which are kept while a sentence is continued."""
    model = reader.model.config.get_text_config()
    heads = getattr(model, "num_key_value_heads", None) or model.num_attention_heads
    positions = max(rows * (tokens + config.generation.tokens) for rows, tokens in read.prompts)
    return 2 * len(reader.sites) * heads * head_width(model) * positions * bytes_per_weight


def logit_bytes(config: Config, reader: Reader, read: Reading, bytes_per_weight: int) -> int:
    """The logits of a chunk of text, or of a batch of stories: all that the harness may hold where those are not known."""
    chunk = LOGIT_COPIES * CHUNK_LOGITS * FLOAT32 if Stage.deactivate in config.stages else 0
    if Stage.cloze not in config.stages:
        return chunk
    tokens = max((rows * tokens for rows, tokens in read.stories), default=config.runtime.batch_tokens)
    logits = tokens * reader.model.config.get_text_config().vocab_size
    return max(chunk, (logits if read.stories else min(logits, HELD_LOGITS)) * (bytes_per_weight + 2 * FLOAT32))


@dataclass(frozen=True)
class HostMemory:
    """The memory of the host, over all processes."""

    held: list[Amount]
    """What is there for the whole run."""
    stages: list[Amount]
    """What is there beside that, stage by stage."""

    @property
    def peak(self) -> int:
        """All that is held, and the largest stage."""
        return sum(held.bytes for held in self.held) + max((stage.bytes for stage in self.stages), default=0)


def host_memory(
    config: Config, planned: PlannedModel, processes: list[list[Device]], libraries: int, working: int
) -> HostMemory:
    """The memory of the host, when each process takes `libraries` bytes before it loads anything and `working` for a batch."""
    weights = sum(device.weights for devices in processes for device in devices if device.name == "host")
    computes = not any(device.is_gpu and device.weights for devices in processes for device in devices)
    held = [
        Amount("libraries", len(processes) * (libraries + LATER_BYTES), "what this process takes, and 80 MiB it would later")
    ]
    stages = stage_amounts(config, planned.reader, len(processes) * working if computes else 0)
    if weights and planned.bytes_per_weight(config.model.dtype) != planned.stored_bytes:
        stored = len(processes) * planned.stored_bytes * planned.reader.num_parameters
        stages.insert(0, Amount("load", stored, "the weights as they are stored, until they are converted"))
    return HostMemory([*held, Amount("weights", weights, "on the host")], stages)


def stage_amounts(config: Config, reader: Reader, working: int) -> list[Amount]:
    """What each stage takes of the host's memory, where batches take `working` bytes of it; they are not all given back."""
    layers, neurons = len(reader.sites), reader.num_neurons_per_layer
    languages, sentences = len(config.languages), len(config.languages) * config.dataset.sentences
    activations = layers * sentences * neurons * FLOAT32
    scores = (ACTIVATION_COPIES * sentences + SCORE_COPIES * languages * layers) * neurons * FLOAT64
    beside = {
        Stage.capture: (working + activations // languages, "a batch, a language as it is written"),
        Stage.compare: (working + MAP_COPIES * sentences**2 * FLOAT64, "maps in float64"),
        Stage.probe: (working + scores, "the scores of all neurons in float64"),
        Stage.deactivate: (working, "a batch"),
        Stage.cloze: (working, "a batch"),
        Stage.generate: (working, "a batch"),
        Stage.report: (REPORT_BYTES, "the libraries that draw"),
    }
    return [
        Amount(stage.name, activations + beside[stage][0], f"activations, {beside[stage][1]}")
        for stage in config.stages
        if stage in beside
    ]


# Disk -------------------------------------------------------------------------------------------------------------------


def cache_amounts(config: Config, reader: Reader) -> list[Amount]:
    """What the cache keeps of a run."""
    amounts = []
    if config.model.recipe:
        steps = len(config.model.recipe.steps)
        amounts.append(Amount("grown model", steps * reader.num_parameters * FLOAT32, f"{steps} training steps in float32"))
    if config.cache.enabled and Stage.capture in config.stages:
        amounts.append(Amount("activations", capture_bytes(config, reader), f"one file per language, {limit(config, reader)}"))
    return amounts


def capture_bytes(config: Config, reader: Reader) -> int:
    """The files of activations of all languages."""
    one = config.dataset.sentences * (reader.num_neurons * FLOAT32 + 8) + CAPTURE_HEADER_BYTES
    return len(config.languages) * one


def limit(config: Config, reader: Reader) -> str:
    """Whether the cache can keep the activations."""
    fits = capture_bytes(config, reader) <= config.cache.max_gib * 2**30
    return f"{'within' if fits else 'more than'} cache.max_gib={config.cache.max_gib:g}{'' if fits else ': not all are kept'}"


def folder_amounts(config: Config, reader: Reader) -> list[Amount]:
    """What the run folder takes."""
    sentences = len(config.languages) * config.dataset.sentences
    amounts = [Amount("tables, figures, report", OTHER_BYTES, "about, from a run with nine languages and 900 sentences")]
    if Stage.compare in config.stages:
        amounts.append(
            Amount("similarity.npy", sentences**2 * FLOAT32 + NUMPY_HEADER_BYTES, f"{sentences:,} x {sentences:,} float32")
        )
    if Stage.probe in config.stages:
        rows = key_neurons_at_most(config, reader.num_neurons)
        amounts.append(Amount("key_neurons.parquet", rows * KEY_NEURON_BYTES, f"at most, {rows:,} key neurons"))
    return amounts


def key_neurons_at_most(config: Config, neurons: int) -> int:
    """How many key neurons there can be.

    The z-scores of a neuron over G languages add up to 0 and their squares to G: above a threshold t there are at most
    G / (1 + t^2) of them.
    """
    languages, threshold = len(config.languages), config.probe.threshold
    return neurons * (math.floor(languages / (1 + threshold**2)) if threshold > 0 else languages)
