"""How many floating-point operations are done in a second: as given, or as measured on this machine."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

from lf_experiments.config.schema import Config
from lf_experiments.plan.placement import Device

EFFICIENCY = 0.5
"""What forward passes are assumed to reach of the rate of a matrix product; BLOOM-560M has reached 0.59 on a processor."""


class Rate(NamedTuple):
    """How fast all processes together compute."""

    throughput: float | None
    """Floating-point operations per second; None where it is not known."""
    note: str


def rate(config: Config, devices: list[Device], bytes_per_weight: int) -> Rate:
    """The throughput given, or that of a matrix product measured here, as far as a model can reach it.

    `devices` are those of one process: however many they are, one computes at a time. What processes that share layers wait for
    each other is left out.
    """
    if config.hardware.throughput:
        return Rate(config.hardware.throughput, "hardware.throughput, all devices together")
    if config.hardware.gpus:
        return Rate(None, "give hardware.throughput: GPUs that are not here cannot be measured")
    device = "cuda" if any(device.is_gpu and device.weights for device in devices) else "cpu"
    dtype = torch.float32 if bytes_per_weight == 4 else torch.bfloat16
    measured = matrix_throughput(dtype, device)
    at_once = config.runtime.num_processes * config.runtime.tensor_parallel if device == "cuda" else 1
    name = str(dtype).removeprefix("torch.")
    note = f"{EFFICIENCY:.0%} (assumed) of {measured:.1e}, a matrix product in {name} measured here"
    return Rate(EFFICIENCY * measured * at_once, note + (f", times {at_once} processes" if at_once > 1 else ""))


def matrix_throughput(dtype: torch.dtype, device: str, seconds: float = 0.5) -> float:
    """Floating-point operations per second of a large matrix product on a device, measured for some `seconds`."""
    size = 8192 if device == "cuda" else 1024
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    (matrix @ matrix)[0, 0].item()  # the first one also sets everything up
    products, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        (matrix @ matrix)[0, 0].item()
        products += 1
    return 2 * size**3 * products / elapsed
