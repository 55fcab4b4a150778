"""The machine to plan for, as `hardware` describes it."""

from __future__ import annotations

import re

from lf_experiments.config.schema import HardwareConfig
from lf_experiments.errors import InputError

UNITS = {"GiB": 2**30, "GB": 10**9, "MiB": 2**20}
"""Bytes of each unit of memory."""


def check_hardware(hardware: HardwareConfig) -> None:
    """Raise `InputError` for GPUs that are not NUMBERxSIZE, and for a throughput that is not positive and finite."""
    if hardware.gpus is not None:
        gpu_sizes(hardware.gpus)
    if hardware.throughput is not None and not 0 < hardware.throughput < float("inf"):
        problem = "this is no number of operations per second"
        raise InputError("hardware.throughput", hardware.throughput, problem, "give one, such as 3e14")


def gpu_sizes(gpus: str) -> list[int]:
    """The memory in bytes of every GPU in a text such as `8x80GiB` or `4x24GiB,2x80GiB`; `InputError` for any other text."""
    sizes: list[int] = []
    for kind in gpus.split(","):
        found = re.fullmatch(r"\s*([1-9]\d*)x(\d+(?:\.\d+)?)(GiB|GB|MiB)\s*", kind)
        if not found:
            problem = "GPUs are named as NUMBERxSIZE in GiB, GB or MiB, several kinds with commas between them"
            raise InputError("hardware.gpus", gpus, problem, "write 8x80GiB, or '4x24GiB,2x80GiB' in quotation marks")
        count, size, unit = found.groups()
        sizes += [int(float(size) * UNITS[unit])] * int(count)
    return sizes
