"""Where the weights would go: on the GPUs of this machine or on others, on the host, on disk.

transformers is asked, with the functions by which it places what it loads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from accelerate.utils import convert_file_size_to_int, get_max_memory
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map

from lf_experiments.config import Config, InputError, ModelConfig, Quantization, gpu_sizes
from lf_experiments.models.load import Reader, placement

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
HOST_SHARE = 0.9
"""Of the free memory of the host, what transformers gives to weights."""
UNKNOWN = 1 << 60
"""Room for weights where nothing limits it."""

QUANTIZED_BYTES = {Quantization.int8: 1.0, Quantization.nf4: 0.5 + 4 / 64}
"""Bytes of a quantized weight; nf4 has a float32 scale for every 64."""

DeviceKey = int | str
"""The number of a GPU, `cpu` or `disk`."""


class Precision:
    """How many bytes each weight takes. transformers asks it what it asks those who quantize."""

    def __init__(self, model: PreTrainedModel, bytes_per_weight: int, quantization: Quantization | None = None) -> None:
        """`bytes_per_weight` is of what is not quantized: bitsandbytes takes the matrices, but not embeddings and head."""
        self.model = model
        self.bytes_per_weight = bytes_per_weight
        self.quantization = quantization
        head = model.get_output_embeddings()
        self.matrices = {
            f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
        }

    def param_element_size(self, _: PreTrainedModel, name: str, tensor: Tensor) -> float:
        """Bytes of an element of a parameter or a buffer."""
        if self.quantization and name in self.matrices:
            return QUANTIZED_BYTES[self.quantization]
        return self.bytes_per_weight if tensor.is_floating_point() else tensor.element_size()

    def sizes(self) -> dict[str, int]:
        """Bytes of every parameter, tied ones counted once."""
        return {
            name: int(tensor.numel() * self.param_element_size(self.model, name, tensor))
            for name, tensor in self.model.named_parameters()
        }


@dataclass(frozen=True)
class Share:
    """What one of the processes has of the machine."""

    gpus: list[int]
    memory: dict[DeviceKey, int | None]
    """Free bytes of each device of the machine; None where nothing says how many."""
    room: dict[DeviceKey, int]
    """Bytes that weights may take on each device of the process."""


@dataclass(frozen=True)
class Device:
    """A device and what it would hold for a process."""

    name: str
    """GPU N, host or disk."""
    memory: int | None
    """Free bytes; None where nothing says how many."""
    room: int
    """Bytes that weights may take."""
    weights: int
    """Bytes they take."""
    layers: list[int]

    @property
    def is_gpu(self) -> bool:
        """Whether it is no part of the host."""
        return self.name.startswith("GPU")


def overflow(devices: list[Device]) -> list[Device]:
    """The devices of a process with more weights than room, and those that hold what found no room on a GPU."""
    spill = ("host", "disk") if any(device.is_gpu and device.weights for device in devices) else ("disk",)
    return [device for device in devices if device.weights > device.room or (device.weights and device.name in spill)]


def placements(config: Config, reader: Reader, precision: Precision, reserve: int) -> list[list[Device]]:
    """What every device would hold for each process; a process has the whole model.

    `reserve` bytes of every GPU are left for its work, unless `model.max_memory` says what weights may take. Raises
    `InputError` for more processes than GPUs, and for a device that is not there.
    """
    processes = config.runtime.num_processes
    memory = planned_memory(config.plan.gpus)
    shares = shares_of(sorted(device for device in memory if isinstance(device, int)), processes)
    return [
        devices(config.model, reader, precision, Share(gpus, memory, rooms(config, memory, gpus, reserve))) for gpus in shares
    ]


def planned_memory(gpus: str | None) -> dict[DeviceKey, int | None]:
    """Free bytes of every device: of this machine, or of the GPUs named, whose host is not known."""
    if gpus:
        return {**dict(enumerate(gpu_sizes(gpus))), "cpu": None}
    return {device if isinstance(device, int) else "cpu": free for device, free in get_max_memory().items()}


def shares_of(gpus: list[int], processes: int) -> list[list[int]]:
    """The GPUs of each process: equal shares, one after the other; none where there are none."""
    if 0 < len(gpus) < processes:
        problem = f"there are only {len(gpus)} GPUs to plan for"
        raise InputError("runtime.num_processes", processes, problem, f"ask for {len(gpus)} processes or fewer")
    share = len(gpus) // processes
    return [gpus[rank * share : (rank + 1) * share] for rank in range(processes)]


def rooms(config: Config, memory: dict[DeviceKey, int | None], gpus: list[int], reserve: int) -> dict[DeviceKey, int]:
    """Bytes that the weights of a process may take on each of its devices; the host is for all processes."""
    if config.model.max_memory:
        given = config.model.max_memory.items()
        return {device: convert_file_size_to_int(room) for device, room in given if device in {*gpus, "cpu", "disk"}}
    host = UNKNOWN if memory["cpu"] is None else int(HOST_SHARE * memory["cpu"]) // config.runtime.num_processes
    return {**{gpu: max(0, memory[gpu] - reserve) for gpu in gpus}, "cpu": host}


def devices(config: ModelConfig, reader: Reader, precision: Precision, share: Share) -> list[Device]:
    """What each device of a process would hold: all its GPUs, and what else holds anything."""
    device_map = device_map_of(config, reader.model, precision, share)
    weights: dict[DeviceKey, int] = dict.fromkeys([*share.gpus, "cpu", "disk"], 0)
    for name, size in precision.sizes().items():
        weights[device_of(name, device_map)] += size
    names = {module: name for name, module in reader.model.named_modules()}
    layers = [device_of(names[site], device_map) for site in reader.sites]
    return [
        Device(
            {"cpu": "host", "disk": "disk"}.get(device, f"GPU {device}"),
            share.memory.get(device),
            share.room.get(device, UNKNOWN),
            size,
            [layer for layer, place in enumerate(layers) if place == device],
        )
        for device, size in weights.items()
        if size or device in share.gpus
    ]


def device_map_of(config: ModelConfig, model: PreTrainedModel, precision: Precision, share: Share) -> dict[str, DeviceKey]:
    """{module: device} as transformers would make it."""
    spread = placement(config, share.gpus)["device_map"]
    if isinstance(spread, str) and spread in STRATEGIES:
        return inferred_device_map(model, precision, share.room, spread)
    given = spread if isinstance(spread, dict) else {"": spread}
    device_map = {module: number_of(device, share.gpus) for module, device in given.items()}
    for device in device_map.values():
        if device not in {*share.gpus, "cpu", "disk"}:
            problem = f"the process has no device {device}; its GPUs are {share.gpus or 'none'}"
            raise InputError("model.device_map", config.device_map, problem, "leave it out, or name the devices there are")
    return device_map


def inferred_device_map(
    model: PreTrainedModel, precision: Precision, room: dict[DeviceKey, int], strategy: str
) -> dict[str, DeviceKey]:
    """What transformers makes of a strategy."""
    whole = model._no_split_modules
    with unwarned():
        if strategy != "sequential":
            room = get_balanced_memory(model, dict(room), whole, precision, low_zero=strategy == "balanced_low_0")
        return infer_auto_device_map(model, dict(room), whole, hf_quantizer=precision)


@contextmanager
def unwarned() -> Iterator[None]:
    """No warnings of GPUs that are not here: they are planned for."""
    logger = logging.getLogger("accelerate.utils.modeling")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def number_of(device: DeviceKey, gpus: list[int]) -> DeviceKey:
    """The number of a GPU from any of its names; `cpu` and `disk` as they are."""
    kind, _, number = str(device).partition(":")
    if kind == "cuda":
        return int(number) if number else (gpus[0] if gpus else 0)
    return device


def device_of(name: str, device_map: dict[str, DeviceKey]) -> DeviceKey:
    """The device of a module or a parameter: that of the innermost module around it that has one, or the host."""
    while name and name not in device_map:
        name, _, _ = name.rpartition(".")
    return device_map.get(name, "cpu")
