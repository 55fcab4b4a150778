"""The plan of a run: what it would take, in numbers. Nothing is downloaded and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

from lf_experiments.config import Config, Dtype, ModelConfig, Quantization
from lf_experiments.models.checkpoints import hub_revision
from lf_experiments.plan.footprint import Amount, HostMemory, cache_amounts, folder_amounts, host_memory, working_bytes
from lf_experiments.plan.model import PlannedModel, planned_model
from lf_experiments.plan.placement import Device, Precision, placements
from lf_experiments.plan.reading import Reading, reading
from lf_experiments.plan.work import Rate, Work, rate, work
from lf_experiments.results.run_folder import peak_memory_bytes

GPU_BYTES = 1 << 30
"""Assumed of what CUDA and its libraries take of every GPU."""


@dataclass(frozen=True)
class Plan:
    """What a run would take. Sizes are in bytes."""

    name: str
    step: int | None
    architecture: str
    layers: int
    neurons_per_layer: int
    parameters: int
    weights: list[Amount]
    """By number format, the last one as configured."""
    download: Amount
    working: int
    """What a batch takes beside the weights, on the device that computes it."""
    reserve: int
    """What is left free on every GPU."""
    processes: list[list[Device]]
    """What every device holds for each process."""
    reading: Reading
    work: list[Work]
    rate: Rate
    memory: HostMemory
    cache: list[Amount]
    folder: list[Amount]

    @property
    def neurons(self) -> int:
        """K, the neurons of all layers."""
        return self.layers * self.neurons_per_layer


def plan_of(config: Config) -> Plan:
    """The plan of a run, from its configuration and what is on this machine.

    Raises `InputError` for a model that nothing is known of, for data that is here and cannot be used, and for devices that
    there are not.
    """
    libraries = peak_memory_bytes()
    planned = planned_model(config)
    reader = planned.reader
    bytes_per_weight = planned.bytes_per_weight(config.model.dtype)
    read = reading(config, planned)
    working = working_bytes(config, reader, read, bytes_per_weight)
    precision = Precision(reader.model, bytes_per_weight, config.model.quantization)
    processes = placements(config, reader, precision, reserved(config, working))
    return Plan(
        name=config.model.name,
        step=config.checkpoint.step,
        architecture=reader.model.config.get_text_config().model_type,
        layers=len(reader.sites),
        neurons_per_layer=reader.num_neurons_per_layer,
        parameters=reader.num_parameters,
        weights=weight_amounts(config, planned, precision),
        download=download(config, planned),
        working=working,
        reserve=reserved(config, working),
        processes=processes,
        reading=read,
        work=work(config, planned, read),
        rate=rate(config, processes[0], bytes_per_weight),
        memory=host_memory(config, planned, processes, libraries, working),
        cache=cache_amounts(config, reader),
        folder=folder_amounts(config, reader),
    )


def download(config: Config, planned: PlannedModel) -> Amount:
    """What is still to be fetched of the weights."""
    if planned.is_here or config.model.recipe:
        return Amount("to download", 0, "they are here" if planned.is_here else "they are grown here")
    repository, revision = hub_revision(config.model.hub, config.checkpoint.step)
    size = planned.stored_bytes * planned.reader.num_parameters
    note = f"from {repository}@{revision}, stored as {planned.stored_note}"
    return Amount("to download", size, note + ("; gated" if config.model.hub.gated else ""))


def reserved(config: Config, working: int) -> int:
    """What is left free on every GPU: for a batch, which takes `working` bytes, and for CUDA.

    Nothing where `model.max_memory` says what weights may take.
    """
    return 0 if config.model.max_memory else GPU_BYTES + working


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
    return f"model.dtype={model.dtype.name}" + (f", as stored: {planned.stored_note}" if model.dtype is Dtype.auto else "")
