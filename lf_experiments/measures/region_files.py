"""Regions in files: to be read by other programs, and from other programs, such as neurons that somebody has published.

* `.safetensors`: for every language a tensor (neurons, 2) of layer and neuron, with the widths of the layers as metadata
* `.pth`, `.pt`: the layout of LAPE, a list over languages of lists over layers of the numbers of neurons; it has no names, and
  its languages are those under study, in their order
* `.parquet`: the table `key_neurons.parquet` of a run

Shapes are written as suffixes: N neurons of a layer. `L_` marks a list over layers, which may differ in width.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lf_experiments.errors import InputError
from lf_experiments.measures.regions import Region, region_of
from lf_experiments.storage import written_whole

KEY = "probe.path"


def write_safetensors(path: Path, regions: list[Region]) -> None:
    """Write regions under the codes of their languages."""
    cells = {region.language: cells_of(region).to(torch.int32) for region in regions}
    widths = [len(where_N) for where_N in regions[0].where_L_N]
    with written_whole(path) as temporary:
        save_file(cells, temporary, metadata={"widths": json.dumps(widths), "columns": "layer, neuron"})


def write_lape(path: Path, regions: list[Region]) -> None:
    """Write regions in the layout of LAPE, in their order and without their languages."""
    numbers = [[where_N.nonzero()[:, 0] for where_N in region.where_L_N] for region in regions]
    with written_whole(path) as temporary:
        torch.save(numbers, temporary)


def cells_of(region: Region) -> Tensor:
    """The layer and the number of every neuron of a region, (neurons, 2)."""
    by_layer = [where_N.nonzero()[:, 0] for where_N in region.where_L_N]
    return torch.cat([torch.stack([torch.full_like(of, layer), of], dim=1) for layer, of in enumerate(by_layer)])


def read_regions(path: Path, languages: list[str], widths: list[int]) -> list[Region]:
    """The regions of some languages in a model with layers of these widths, from any of the layouts.

    Raises `InputError` for a file that is not there or is none of them, that lacks a language, or is of another model.
    """
    if not path.is_file():
        raise InputError(
            KEY, path, "there is no such file", "give the path of a .safetensors, .pth or .parquet file of neurons"
        )
    readers = {".safetensors": from_safetensors, ".pth": from_lape, ".pt": from_lape, ".parquet": from_table}
    if path.suffix not in readers:
        raise InputError(KEY, path, f"{path.suffix or 'a name without ending'} is no kind known", f"give {', '.join(readers)}")
    try:
        cells = readers[path.suffix](path, languages)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(KEY, path, f"it cannot be read ({type(error).__name__})", "give a file that is whole") from error
    return [region_at(path, language, cells, widths) for language in languages]


def from_safetensors(path: Path, _: list[str]) -> dict[str, Tensor]:
    """{language: cells}."""
    with safe_open(path, framework="pt") as file:
        return {language: file.get_tensor(language).long() for language in file.keys()}  # noqa: SIM118


def from_lape(path: Path, languages: list[str]) -> dict[str, Tensor]:
    """{language: cells}; nothing in the file is run. Raises `InputError` for another number of languages."""
    numbers = torch.load(path, weights_only=True, map_location="cpu")
    if len(numbers) != len(languages):
        problem = f"it has neurons of {len(numbers)} languages, and {len(languages)} are under study"
        raise InputError(KEY, path, problem, "give language_set.languages, those of the file in their order")
    found = {}
    for language, by_layer in zip(languages, numbers, strict=True):
        of_layers = [torch.as_tensor(of, dtype=torch.int64).flatten() for of in by_layer]
        found[language] = torch.cat(
            [torch.stack([torch.full_like(of, layer), of], dim=1) for layer, of in enumerate(of_layers)]
        )
    return found


def from_table(path: Path, languages: list[str]) -> dict[str, Tensor]:
    """{language: cells}; a language without rows has no neurons."""
    table = pd.read_parquet(path, columns=["language", "layer", "neuron"])
    by_language = {language: table[table["language"] == language] for language in languages}
    return {
        language: torch.tensor(rows[["layer", "neuron"]].to_numpy(), dtype=torch.int64)
        for language, rows in by_language.items()
    }


def region_at(path: Path, language: str, cells: dict[str, Tensor], widths: list[int]) -> Region:
    """One region. Raises `InputError` where the file lacks the language, or has neurons that the model has not."""
    if language not in cells:
        there = ", ".join(sorted(cells)) or "none"
        raise InputError(KEY, path, f"it has no neurons of {language}", f"choose among its languages: {there}")
    rows = pd.DataFrame(cells[language].view(-1, 2).numpy(), columns=["layer", "neuron"])
    for layer, neuron in rows.itertuples(index=False):
        if not (0 <= layer < len(widths) and 0 <= neuron < widths[layer]):
            problem = f"its neuron {neuron} of layer {layer} is not in a model of {len(widths)} layers of {max(widths)} neurons"
            raise InputError(KEY, path, problem, "give the neurons of this model")
    return region_of(language, rows.assign(language=language), widths)
