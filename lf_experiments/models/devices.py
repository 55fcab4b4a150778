"""Where the weights go, and which number formats the processor computes with fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import get_max_memory

from lf_experiments.config.schema import ModelConfig
from lf_experiments.errors import InputError

UNITS = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}
"""The features of a processor, of Intel, AMD or ARM, each of which makes a 16-bit format at least as fast as float32.

Measured on one core of an EPYC with avx512_bf16, a LLaMA of 4 layers and 512 tokens: bfloat16 takes 0.45 of the time of float32
with these units and 2 to 4 times as long without; float16, for which there are none, takes 3.8 times as long.
"""


AUTOMATIC = frozenset({"auto", "balanced", "balanced_low_0", "sequential"})
"""The device maps that accelerate fills in."""

DEVICE_REMEDY = "leave model.device_map out, or give auto, cpu or a GPU that is here"


def placement(config: ModelConfig, gpus: list[int] | None) -> dict[str, Any]:
    """Where the weights go: the arguments for transformers that keep a model to the GPUs given, or to all where None are.

    Without `config.device_map` that is the one GPU, all of several, or where there are none of NVIDIA or AMD, `default_device`.
    """
    present = list(range(torch.cuda.device_count()))
    gpus = present if gpus is None else gpus
    spread = config.device_map or ("auto" if len(gpus) > 1 else f"cuda:{gpus[0]}" if gpus else default_device())
    memory = dict(config.max_memory) if config.max_memory else None
    if gpus != present:
        memory = {device: room for device, room in (memory or get_max_memory()).items() if device in {*gpus, "cpu", "disk"}}
    return {"device_map": spread, "max_memory": memory, "offload_folder": config.offload_folder}


def default_device() -> str:
    """Where a model goes on a machine without GPUs of NVIDIA or AMD: to what else accelerates here (mps on a Mac), or cpu."""
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return here.type if here and here.type != "cuda" else "cpu"


def equal_shares(gpus: list[int], processes: int, where: str = "here", shards: int = 1) -> list[list[int]]:
    """The GPUs of each process of a machine, one after the other; none where there are none.

    Where several processes, `shards`, share the layers of a copy of the model, each has one GPU. Raises `InputError` for more
    processes than GPUs.
    """
    if 0 < len(gpus) < processes:
        only = f"there {'is only one GPU' if len(gpus) == 1 else f'are only {len(gpus)} GPUs'} {where}"
        if shards == 1:
            raise InputError("runtime.num_processes", processes, only, f"ask for {len(gpus)} processes or fewer")
        problem = f"{only}, and {processes} processes need one each"
        raise InputError("runtime.tensor_parallel", shards, problem, "ask for fewer, or for fewer copies of the model")
    share = len(gpus) // processes if shards == 1 else 1
    return [gpus[rank * share : (rank + 1) * share] for rank in range(processes)]


def refuse_missing_devices(device_map: Any) -> None:
    """Raise `InputError` for a device map with a device that this machine does not have; None is no device map."""
    gpus = torch.cuda.device_count()
    for device in devices_of(device_map) if device_map else []:
        kind, _, number = device.partition(":")
        if kind == "cuda" and (number or "0").isdigit():
            if int(number or 0) >= gpus:
                have = f"torch finds {gpus} GPUs here" if gpus else "torch finds no GPU here"
                raise InputError("model.device_map", device_map, f"there is no {device}: {have}", DEVICE_REMEDY)
        elif device not in AUTOMATIC and not is_device(kind):
            problem = f"it cannot be loaded: there is no device {device}"
            raise InputError("model.device_map", device_map, problem, DEVICE_REMEDY)


def is_device(kind: str) -> bool:
    """Whether weights can be on devices of this kind here; a bare number is a GPU as the library counts them."""
    return kind.isdigit() or kind in {"cpu", "disk", default_device()}


def devices_of(device_map: Any) -> list[str]:
    """The devices that a device map names, as text."""
    return [str(device) for device in (device_map.values() if isinstance(device_map, dict) else [device_map])]


def is_on_processor(device_map: Any, gpus: list[int] | None = None) -> bool:
    """Whether a model with this device map computes on the processor alone; it may have GPUs that are not here."""
    names = set(devices_of(device_map))
    return names <= {"cpu", "disk"} or (names <= AUTOMATIC and not gpus and not torch.accelerator.is_available())


def processor_features(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The features of this machine's processor as Linux names them; none where that is not Linux."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    listed = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return frozenset(next(listed, "").split())


def format_to_compute_with(stored: str, features: frozenset[str]) -> str:
    """The number format for weights stored as `stored` on a processor with these features: float32 where that is faster."""
    return stored if stored not in UNITS or UNITS[stored] & features else "float32"
