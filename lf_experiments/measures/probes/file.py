"""Neurons from a file: anybody's, evaluated as those that are found here (`measures/region_files.py`).

Shapes are written as suffixes: G languages, N neurons of a layer.
"""

from __future__ import annotations

from pathlib import Path

import torch

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.errors import InputError
from lf_experiments.measures.region_files import read_regions
from lf_experiments.measures.regions import Scores
from lf_experiments.neurons.activations import Activations

POOL = "mean"
READS_NOTHING = True
"""The neurons are the same whatever the sentences: shuffles and halves say nothing of them."""


def file(activations: Activations, config: ProbeConfig) -> Scores:
    """1 for every neuron that the file names (score and z); others are -inf and have the score 0. Raises as `read_regions`."""
    check(config, len(activations.language_codes))
    regions = read_regions(Path(str(config.path)).expanduser(), activations.language_codes, activations.widths)
    named_L_GN = [torch.stack(where_G_N) for where_G_N in zip(*(region.where_L_N for region in regions), strict=True)]
    score_L_GN = [named_GN.to(torch.float64) for named_GN in named_L_GN]
    return Scores(score_L_GN, [score_GN.where(score_GN > 0, -torch.inf) for score_GN in score_L_GN])


def check(probe: ProbeConfig, _: int) -> None:
    """Raise `InputError` where no file is named."""
    if probe.path is None:
        raise InputError("probe.path", "null", "probe=file needs a file of neurons", "give probe.path=FILE")
