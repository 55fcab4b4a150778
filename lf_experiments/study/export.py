"""What a run hands on to other programs: its regions, and the model without each of them."""

from __future__ import annotations

import logging
from pathlib import Path

from lf_experiments.errors import InputError
from lf_experiments.measures.region_files import write_lape, write_safetensors
from lf_experiments.neurons.removal import write_without
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import Amount, RunShape
from lf_experiments.study.deactivations import key_regions

log = logging.getLogger(__name__)

CELL_BYTES = 16
"""Of a neuron of a region in both layouts."""


def write_export(bench: Bench, folder: Path) -> None:
    """Write `regions.safetensors`, `regions.pth` (LAPE's layout) and, for each language, the model without its key region.

    Raises `InputError` for a run without regions, and for weights that cannot be written without some neurons.
    """
    if not (bench.folder.path / "key_neurons.parquet").is_file():
        raise InputError("export", folder, "this run folder has no key regions", "add probe to stages")
    regions = key_regions(bench)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "regions.safetensors", regions)
    write_lape(folder / "regions.pth", regions)
    for region in regions:
        write_without(bench.load_reader(), region.where_L_N, folder / region.language)
    log.info("regions, and the model without each of %d: %s", len(regions), folder)


def export_amounts(shape: RunShape, most_languages: int) -> list[Amount]:
    """What `write_export` leaves where a neuron is key for so many languages at most; no bytes are counted for tokenizers."""
    languages, cells = len(shape.languages), shape.reader.num_neurons * most_languages
    weights = languages * shape.reader.num_parameters * shape.bytes_per_weight
    return [
        Amount("regions", cells * CELL_BYTES, f"at most, {cells:,} key neurons in two layouts"),
        Amount("models", weights, f"{languages} times the weights, each without a region; beside them the tokenizer"),
    ]
