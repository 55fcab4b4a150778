"""Removal: a model on disk that lacks some neurons, for any other program; their columns of the second MLP matrix are 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lf_experiments.errors import InputError
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import refuse_misfit
from lf_experiments.neurons.sites import DenseSite, Site, is_readable


def write_without(reader: Reader, where_L_N: list[Tensor], folder: Path) -> None:
    """Write the model without the neurons marked, and its tokenizer, as a folder in Hugging Face layout.

    It predicts what the model does while these neurons are switched off, but for rounding. Raises `InputError` for weights
    that are quantized or not in memory, and `ValueError` for the neurons of another model.
    """
    with removed(reader.sites, where_L_N):
        reader.model.save_pretrained(folder)
    reader.tokenizer.save_pretrained(folder)


@contextmanager
@torch.no_grad()
def removed(sites: list[Site], where_L_N: list[Tensor]) -> Iterator[None]:
    """Inside the block the columns of the neurons marked are 0; after it they are what they were."""
    refuse_misfit(where_L_N, [site.width for site in sites])
    columns = [columns_of(site) for site in sites]
    kept = [columns_ND[where_N.to(columns_ND.device)] for columns_ND, where_N in zip(columns, where_L_N, strict=True)]
    try:
        for columns_ND, where_N in zip(columns, where_L_N, strict=True):
            columns_ND[where_N.to(columns_ND.device)] = 0
        yield
    finally:
        for columns_ND, where_N, kept_ND in zip(columns, where_L_N, kept, strict=True):
            columns_ND[where_N.to(columns_ND.device)] = kept_ND


def columns_of(site: Site) -> Tensor:
    """What each neuron is multiplied by on its way to the residual stream, (N, D): a view of the weights of the model."""
    matrix = site.matrix if isinstance(site, DenseSite) else None
    if not isinstance(matrix, (nn.Linear, Conv1D)) or not is_readable(matrix.weight, site.width):
        raise InputError(
            "export",
            "(this model)",
            "the second MLP matrix is quantized, offloaded or one of routed experts, and cannot be written without neurons",
            "load the weights as they were published, on one machine, or leave export out",
        )
    return matrix.weight.data if isinstance(matrix, Conv1D) else matrix.weight.data.T
