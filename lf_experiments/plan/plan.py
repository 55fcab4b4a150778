"""The plan of a run: what its stages would take, added up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from lf_experiments.config.schema import Config, Dtype, ModelConfig, Quantization, Recipe
from lf_experiments.measures.probe import most_languages
from lf_experiments.models.checkpoints import hub_revision
from lf_experiments.models.load import Reader
from lf_experiments.models.tensor_plans import most_shards, refuse_unshardable
from lf_experiments.neurons.kept_capture import HELD_BYTES
from lf_experiments.plan.hardware import check_hardware
from lf_experiments.plan.model import PlannedModel, planned_model
from lf_experiments.plan.placement import Device, Precision, gpus_of, most_copies, placements
from lf_experiments.plan.rate import Rate, rate
from lf_experiments.plan.reading import Texts, reading
from lf_experiments.runs.provenance import peak_memory_bytes
from lf_experiments.study import STAGES, corpora_of, stages_to_run
from lf_experiments.study.cost import FLOAT32, Amount, Cost, RunShape, Work
from lf_experiments.study.export import export_amounts
from lf_experiments.study.operations import forward_operations
from lf_experiments.study.pools import recorded_pools

GPU_BYTES = 1 << 30
"""Assumed of what CUDA and its libraries take of every GPU."""
LATER_BYTES = 80 << 20
"""Of libraries that a run loads and a plan does not, and of what they set up for the first batch."""
NO_FINGERPRINTS: defaultdict[str, str] = defaultdict(str)
"""Of the model, the corpora and the stages before: nothing was fetched or run."""
OTHER_FILES = Amount("tables, figures, report", 5 << 20, "about, from a run with nine languages and 900 sentences")


@dataclass(frozen=True)
class Plan:
    """What a run would take. Sizes are in bytes."""

    name: str
    step: int | None
    reader: Reader
    """The model, without weights."""
    weights: list[Amount]
    """By number format, the last one as configured."""
    download: Amount
    working: int
    """What a batch takes beside the weights, on the device that computes it."""
    reserve: int
    """What is left free on every GPU."""
    gpus: int
    """GPUs that are planned for."""
    copies: int | None
    """How many copies of the model would fit on them; None without GPUs, and where `model.device_map` is given."""
    shards: int
    """Processes that share the layers of a copy."""
    most_shards: int
    """How many could, on the GPUs that each of so many copies has."""
    processes: list[list[Device]]
    """What every device holds for each process."""
    texts: dict[str, Texts]
    """What is read of each corpus, by its key in the configuration."""
    work: dict[str, Work]
    """By stage, as far as it reads with the model; `grow` where the model is still to be grown."""
    rate: Rate
    held: list[Amount]
    """Memory of the host, over all processes, for the whole run."""
    stages: list[Amount]
    """The same, which each stage takes beside that."""
    cache: list[Amount]
    folder: list[Amount]
    export: list[Amount]
    """What is handed on to other programs; empty where nothing is."""

    @property
    def peak(self) -> int:
        """The most memory of the host there is at once."""
        return sum(held.bytes for held in self.held) + max((stage.bytes for stage in self.stages), default=0)


def plan_of(config: Config) -> Plan:
    """The plan of a run, from its configuration and what is on this machine.

    Raises `InputError` for a model that nothing is known of, for data that is here and cannot be used, and for devices that
    there are not.
    """
    check_hardware(config.hardware)
    libraries, shards = peak_memory_bytes() + LATER_BYTES, config.runtime.tensor_parallel
    planned = planned_model(config)
    if shards > 1:
        refuse_unshardable(planned.reader.model.config, shards)
    names = set(stages_to_run(config))
    texts = reading(config, planned, {"dataset"} | corpora_of(names))
    lengths = {corpus: found.by_language for corpus, found in texts.items()}
    shape = RunShape(planned.reader, planned.bytes_per_weight, recorded_pools(config), config.runtime, lengths)
    costs = {kind.name: kind.of(config, NO_FINGERPRINTS).cost(shape) for kind in STAGES if kind.name in names}
    working = max((cost.device for cost in costs.values()), default=0)
    reserve = 0 if config.model.max_memory else GPU_BYTES + working
    precision = Precision(planned.reader.model, planned.bytes_per_weight, config.model.quantization)
    processes = list(placements(config, planned.reader, precision, reserve))
    copies = most_copies(config, planned.reader, precision, reserve)
    *held, load = held_amounts(planned, processes, shards, libraries)
    return Plan(
        name=config.model.name,
        step=config.checkpoint.step,
        reader=planned.reader,
        weights=weight_amounts(config, planned, precision),
        download=download(config, planned),
        working=working,
        reserve=reserve,
        gpus=len(gpus_of(config)),
        copies=copies,
        shards=shards,
        most_shards=most_shards(planned.reader.model.config, len(gpus_of(config)) // copies) if copies else 1,
        processes=processes,
        texts=texts,
        work=growth(config.model.recipe, planned) | {name: cost.work for name, cost in costs.items() if cost.work},
        rate=rate(config, processes[0], planned.bytes_per_weight),
        held=held,
        stages=([load] if load.bytes else []) + stage_amounts(shape, costs, processes, working, config.cache.enabled),
        cache=cache_amounts(config, planned.reader.num_parameters, costs),
        folder=[OTHER_FILES, *(amount for cost in costs.values() for amount in cost.folder)],
        export=export_amounts(shape, most_languages(config.probe, len(config.languages))) if config.export else [],
    )


def growth(recipe: Recipe | None, planned: PlannedModel) -> dict[str, Work]:
    """The training steps of a model still to be grown: a forward pass with the head, and a backward pass of twice its work."""
    if recipe is None or planned.is_here:
        return {}
    once = forward_operations(planned.reader.model, [(recipe.batch_size, recipe.window)], recipe.batch_size * recipe.window)
    steps = max(recipe.steps)
    return {"grow": Work(3 * steps * once, f"{steps:,} training steps, the first time only")}


def download(config: Config, planned: PlannedModel) -> Amount:
    """What is still to be fetched of the weights."""
    if planned.is_here or config.model.recipe:
        return Amount("to download", 0, "they are here" if planned.is_here else "they are grown here")
    repository, revision = hub_revision(config.model.hub, config.checkpoint.step)
    size = planned.stored_bytes * planned.reader.num_parameters
    note = f"from {repository}@{revision}, stored as {planned.stored_note}"
    return Amount("to download", size, note + ("; gated" if config.model.hub.gated else ""))


def weight_amounts(config: Config, planned: PlannedModel, configured: Precision) -> list[Amount]:
    """The weights in every number format, and as configured."""
    model = planned.reader.model
    quantized = "approximately: the matrices of the layers; the other weights in 16 bits"
    formats = [
        ("float32", Precision(model, 4), ""),
        ("float16, bfloat16", Precision(model, 2), ""),
        *((kind.name, Precision(model, 2, kind), quantized) for kind in Quantization),
        ("as configured", configured, configured_note(config.model, planned)),
    ]
    return [Amount(name, sum(precision.sizes().values()), note) for name, precision, note in formats]


def configured_note(model: ModelConfig, planned: PlannedModel) -> str:
    """Which number format the configuration asks for."""
    if model.quantization:
        return f"model.quantization={model.quantization.name}"
    if model.dtype is not Dtype.auto:
        return f"model.dtype={model.dtype.name}"
    if planned.bytes_per_weight != planned.stored_bytes:
        return f"model.dtype=auto: float32, faster on this processor than {planned.stored_note} as stored"
    return f"model.dtype=auto, as stored: {planned.stored_note}"


def held_amounts(
    planned: PlannedModel, processes: list[list[Device]], shards: int, libraries: int
) -> tuple[Amount, Amount, Amount]:
    """What the host holds for the whole run; last, what it holds while weights are converted, 0 bytes where they are not."""
    weights = sum(device.weights for devices in processes for device in devices if device.name == "host")
    are_converted = weights and planned.bytes_per_weight != planned.stored_bytes
    stored = len(processes) // shards * planned.stored_bytes * planned.reader.num_parameters
    return (
        Amount("libraries", len(processes) * libraries, "what this process takes, and 80 MiB it would later"),
        Amount("weights", weights, "on the host"),
        Amount("load", stored if are_converted else 0, "the weights as they are stored, until they are converted"),
    )


def activations_in_memory(shape: RunShape, are_kept: bool) -> Amount:
    """What of the activations is in memory: all, or where that is much and they are in the cache, one layer."""
    all_pools = len(shape.pools) * shape.activations
    if not are_kept or all_pools <= HELD_BYTES:
        return Amount("activations", all_pools)
    return Amount("a layer of the activations", shape.num_sentences * max(shape.reader.widths) * FLOAT32)


def stage_amounts(
    shape: RunShape, costs: dict[str, Cost], processes: list[list[Device]], working: int, are_kept: bool
) -> list[Amount]:
    """What each stage takes of the host's memory, where batches take `working` bytes of that or of a GPU's."""
    activations = activations_in_memory(shape, are_kept)
    on_gpus = any(device.is_gpu and device.weights for devices in processes for device in devices)
    batches = 0 if on_gpus else len(processes) * working
    return [
        Amount(name, activations.bytes + cost.host + batches * cost.after_batches, f"{activations.name}, {cost.host_note}")
        for name, cost in costs.items()
    ]


def cache_amounts(config: Config, parameters: int, costs: dict[str, Cost]) -> list[Amount]:
    """What the cache keeps of a run: the steps of a grown model, and what the stages leave there, as far as it may."""
    kept = [amount for cost in costs.values() for amount in cost.cache] if config.cache.enabled else []
    fits = sum(amount.bytes for amount in kept) <= config.cache.max_gib * 2**30
    limit = f"{'within' if fits else 'more than'} cache.max_gib={config.cache.max_gib:g}{'' if fits else ': not all are kept'}"
    kept = [replace(amount, note=f"{amount.note}, {limit}") for amount in kept]
    if not config.model.recipe:
        return kept
    steps = len(config.model.recipe.steps)
    return [Amount("grown model", steps * parameters * FLOAT32, f"{steps} training steps in float32"), *kept]
