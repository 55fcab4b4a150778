"""Where the weights would go: on the GPUs of this machine or on others, on the host, on disk.

transformers is asked, with the functions by which it places what it loads.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from accelerate.utils import convert_file_size_to_int, get_max_memory
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map

from lf_experiments.config.schema import Config, ModelConfig, Quantization
from lf_experiments.errors import InputError
from lf_experiments.models.devices import AUTOMATIC, default_device, equal_shares, placement
from lf_experiments.models.load import Reader
from lf_experiments.models.tensor_plans import divided_weights
from lf_experiments.plan.hardware import gpu_sizes

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


def most_copies(config: Config, reader: Reader, precision: Precision, reserve: int) -> int | None:
    """How many copies of the model the GPUs could have; None without GPUs, and where `model.device_map` is given.

    `reserve` as in `placements`.
    """
    gpus = len(gpus_of(config))
    if not gpus or str(config.model.device_map or "auto") not in AUTOMATIC:
        return None
    for copies in range(gpus // config.runtime.tensor_parallel, 0, -1):
        several = replace(config, runtime=replace(config.runtime, num_processes=copies))
        if not any(overflow(devices) for devices in placements(several, reader, precision, reserve)):
            return copies
    return 0


def gpus_of(config: Config) -> list[int]:
    """The numbers of the GPUs that are planned for."""
    return sorted(device for device in planned_memory(config.hardware.gpus) if isinstance(device, int))


def placements(config: Config, reader: Reader, precision: Precision, reserve: int) -> Iterator[list[Device]]:
    """Yields what every device would hold for each process: the whole model, or where several share its layers, a part.

    `reserve` bytes of every GPU are left for its work, unless `model.max_memory` says what weights may take. Raises
    `InputError` for more processes than GPUs, for a device that is not there, and for layers that cannot be shared.
    """
    memory, shards = planned_memory(config.hardware.gpus), config.runtime.tensor_parallel
    for gpus in equal_shares(gpus_of(config), config.runtime.num_processes * shards, "to plan for", shards):
        room = rooms(config, memory, gpus, reserve)
        if shards > 1:
            yield [shard_device(reader, precision, shards, gpus[0] if gpus else "cpu", memory, room)]
            continue
        device_map = device_map_of(config.model, precision, gpus, room)
        weights = weights_by_device(precision, device_map, gpus)
        layers = layers_by_device(reader, device_map)
        yield [
            Device(name_of(device), memory.get(device), room.get(device, UNKNOWN), size, layers.get(device, []))
            for device, size in weights.items()
        ]


def shard_device(
    reader: Reader,
    precision: Precision,
    shards: int,
    device: DeviceKey,
    memory: dict[DeviceKey, int | None],
    room: dict[DeviceKey, int],
) -> Device:
    """What the device of one of the processes that share layers holds: its part of what is divided, and all other weights."""
    divided = divided_weights(reader.model)
    weights = sum(math.ceil(size / shards) if name in divided else size for name, size in precision.sizes().items())
    layers = list(range(len(reader.sites)))
    return Device(name_of(device), memory.get(device), room.get(device, UNKNOWN), weights, layers)


def planned_memory(gpus: str | None) -> dict[DeviceKey, int | None]:
    """Free bytes of every device: of this machine, or of the GPUs named, whose host is not known."""
    if gpus:
        return {**dict(enumerate(gpu_sizes(gpus))), "cpu": None}
    return {device if isinstance(device, int) else "cpu": free for device, free in get_max_memory().items()}


def rooms(config: Config, memory: dict[DeviceKey, int | None], gpus: list[int], reserve: int) -> dict[DeviceKey, int]:
    """Bytes that the weights of a process may take on each of its devices; the host is for all processes."""
    if config.model.max_memory:
        given = config.model.max_memory.items()
        return {device: convert_file_size_to_int(room) for device, room in given if device in {*gpus, "cpu", "disk"}}
    processes = config.runtime.num_processes * config.runtime.tensor_parallel
    host = UNKNOWN if memory["cpu"] is None else int(HOST_SHARE * memory["cpu"]) // processes
    return {**{gpu: max(0, memory[gpu] - reserve) for gpu in gpus}, "cpu": host}


def weights_by_device(precision: Precision, device_map: dict[str, DeviceKey], gpus: list[int]) -> dict[DeviceKey, int]:
    """Bytes of weights on every GPU of a process, and on what else holds any."""
    weights: dict[DeviceKey, int] = dict.fromkeys([*gpus, "cpu", "disk"], 0)
    for name, size in precision.sizes().items():
        weights[device_of(name, device_map)] += size
    return {device: size for device, size in weights.items() if size or device in gpus}


def layers_by_device(reader: Reader, device_map: dict[str, DeviceKey]) -> dict[DeviceKey, list[int]]:
    """The layers whose neurons are computed on each device."""
    names = {module: name for name, module in reader.model.named_modules()}
    layers = defaultdict(list)
    for layer, site in enumerate(reader.sites):
        layers[device_of(names[site.banks[0].module], device_map)].append(layer)
    return layers


def device_map_of(
    config: ModelConfig, precision: Precision, gpus: list[int], room: dict[DeviceKey, int]
) -> dict[str, DeviceKey]:
    """{module: device} as transformers would make it."""
    spread = placement(config, gpus)["device_map"]
    if isinstance(spread, str) and spread in AUTOMATIC:
        return inferred_device_map(precision, room, spread)
    given = spread if isinstance(spread, dict) else {"": spread}
    device_map = {module: number_of(device, gpus) for module, device in given.items()}
    for device in device_map.values():
        if device not in {*gpus, "cpu", "disk"}:
            problem = f"the process has no device {device}; its GPUs are {gpus or 'none'}"
            raise InputError("model.device_map", config.device_map, problem, "leave it out, or name the devices there are")
    return device_map


def inferred_device_map(precision: Precision, room: dict[DeviceKey, int], strategy: str) -> dict[str, DeviceKey]:
    """What transformers makes of a strategy."""
    model = precision.model
    with unwarned():
        if strategy != "sequential":
            low_zero = strategy == "balanced_low_0"
            room = get_balanced_memory(model, dict(room), model._no_split_modules, precision, low_zero=low_zero)
        return infer_auto_device_map(model, dict(room), model._no_split_modules, hf_quantizer=precision)


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


def name_of(device: DeviceKey) -> str:
    """A device as the plan names it."""
    names: dict[DeviceKey, str] = {"cpu": "host", "disk": "disk"}
    return names.get(device, f"GPU {device}")


def number_of(device: DeviceKey, gpus: list[int]) -> DeviceKey:
    """The number of a GPU from any of its names; `cpu` and `disk` as they are. A Mac's has the host's memory."""
    kind, _, number = str(device).partition(":")
    if kind == "cuda":
        return int(number) if number else (gpus[0] if gpus else 0)
    return "cpu" if kind == default_device() else device


def device_of(name: str, device_map: dict[str, DeviceKey]) -> DeviceKey:
    """The device of a module or a parameter: that of the innermost module around it that has one, or the host."""
    while name and name not in device_map:
        name, _, _ = name.rpartition(".")
    return device_map.get(name, "cpu")
