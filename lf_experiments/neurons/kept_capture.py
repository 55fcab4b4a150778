"""Captures kept between runs, named by what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lf_experiments.storage import made_once

FILE = "activations.safetensors"


@dataclass(frozen=True)
class Captured:
    """What a capture leaves: enough for every measure, without the model."""

    h_LSN: Tensor
    """Eq. (5), (layers, sentences, neurons of a layer), float32."""
    tokens_S: Tensor
    """Tokens of each sentence, int64."""
    num_parameters: int
    """Parameters of the model that was read with."""


def kept_capture(folder: Path, make: Callable[[], Captured]) -> Captured:
    """The capture kept in `folder`, made and kept there where it is not yet."""
    with made_once(folder) as partial:
        if partial:
            captured = make()
            tensors = {"h_LSN": captured.h_LSN, "tokens_S": captured.tokens_S}
            save_file(tensors, partial / FILE, metadata={"num_parameters": str(captured.num_parameters)})
            return captured
    with safe_open(folder / FILE, framework="pt") as file:
        parameters = int(file.metadata()["num_parameters"])
        return Captured(file.get_tensor("h_LSN"), file.get_tensor("tokens_S").to(torch.int64), parameters)
