"""Similarity maps under the reader's hand: every pair of sentences, with both texts, by pointer or by keyboard; one map after
another with a slider: the whole model and then its layers, or the steps of a training.

Shapes are written as suffixes: S samples (sentences), R those of the first meanings.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from lf_experiments.figures.figure2_similarity_map import coloured_range, different
from lf_experiments.languages import language_name
from lf_experiments.report.page import Section, blocks, json_block, section
from lf_experiments.report.shared import address
from lf_experiments.runs.families import BODY
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep

SHADES = 255
SHOWN_SIMILARITIES = 1_500_000
"""Numbers that the maps of a sweep have together, as they are shown: of as many meanings as that allows."""
INTRODUCTION = (
    "Every point is a pair of sentences; its colour is how alike the neurons respond to the two (the cosine of eq. 7: 1 is the "
    "same pattern, 0 none in common). Point at one, or choose it with the arrow keys: both sentences stand beside the map. + "
    "and - zoom around it."
)
BY_LAYER = (
    " The slider goes through the layers, from the first to the last, each with the sentences of the first meanings alone."
)
BY_STEP = " The slider goes through the training of {}, with the sentences of the first meanings alone."
BY_SIZE = " The slider goes from the smallest model to the largest, with the sentences of the first meanings alone."


@dataclass(frozen=True)
class Sheet:
    """Maps of the same sentences, by what each is of."""

    places: list[int]
    """The sentences, as their places in the table of samples."""
    maps: dict[str, np.ndarray]


def similarity_explorer(run: Run) -> Section | None:
    """The map of the whole model, and of every layer that was kept; None where a run lacks the map or its sentences."""
    if run.similarity is None or run.samples is None:
        return None
    sheets = [Sheet(list(range(len(run.samples))), {"the whole model": run.similarity})]
    if run.layer_maps is not None:
        places = of_first_meanings(run.samples, run.layer_maps.shape[1])
        sheets.append(Sheet(places, {f"layer {layer}": map_RR for layer, map_RR in enumerate(run.layer_maps)}))
    introduction = INTRODUCTION + (BY_LAYER if len(sheets) > 1 else "")
    return section("map", "Sentences side by side", blocks.soft(introduction), explorer(run.samples, sheets))


def explorer_of_sweep(sweep: Sweep) -> Section | None:
    """The maps of a training, step by step, or else of models by their size; None where no two runs read the same sentences."""
    frames, told = frames_of(sweep)
    if len(frames) < 2:
        return None
    samples = next(iter(frames.values())).samples
    languages = samples["language"].nunique()
    most = int(math.sqrt(SHOWN_SIMILARITIES / len(frames)) / languages)
    places = of_first_meanings(samples, languages * max(1, min(most, len(samples) // languages)))
    maps = {name: run.similarity[np.ix_(places, places)] for name, run in frames.items()}
    content = explorer(samples, [Sheet(places, maps)], chosen=len(maps) - 1, are_alike=True)
    return section("map", "Sentences side by side", blocks.soft(INTRODUCTION + told), content)


def frames_of(sweep: Sweep) -> tuple[dict[str, Run], str]:
    """{what a map is of: its run}, in their order, of a training or of models by size, and what the slider goes through."""
    body = sweep.of(BODY) if len(sweep.of(BODY).table) else sweep
    lines = body.lines("training_step")
    if lines:
        name, line = max(lines.items(), key=lambda entry: (body.main_run in entry[1].index, len(entry[1])))
        steps = {f"step {row['training_step']:,}": run for run, row in line.iterrows() if row["status"] == "done"}
        return readable(steps), BY_STEP.format(name)
    return readable({run.title: run for run in body.finals.index}), BY_SIZE


def readable(runs: dict[str, Run]) -> dict[str, Run]:
    """The runs with a map that read the same sentences as the last of them."""
    kept = {name: run for name, run in runs.items() if run.similarity is not None and run.samples is not None}
    texts = [list(run.samples["text"]) for run in kept.values()]
    return {name: run for (name, run), of_run in zip(kept.items(), texts, strict=True) if of_run == texts[-1]}


def of_first_meanings(samples: pd.DataFrame, rows: int) -> list[int]:
    """The places of so many samples in all: those of the first meanings, in every language."""
    meanings = samples["meaning"].unique()[: rows // samples["language"].nunique()]
    return np.flatnonzero(samples["meaning"].isin(meanings)).tolist()


def explorer(samples: pd.DataFrame, sheets: list[Sheet], chosen: int = 0, are_alike: bool = False) -> Markup:
    """Maps as pictures that carry their numbers, and the sentences they are of.

    `chosen` is the map that is shown first; `are_alike` says whether all have the same colours for the same number at first.
    """
    languages = list(dict.fromkeys(samples["language"]))
    shown = {place for sheet in sheets for place in sheet.places}
    content = {
        "shades": SHADES,
        "palette": palette(),
        "languages": [{"code": code, "name": language_name(code)} for code in languages],
        "language": [languages.index(code) for code in samples["language"]],
        "meaning": list(samples["meaning"].astype(str)),
        "text": [text if place in shown else "" for place, text in enumerate(samples["text"])],
        "sheets": [
            {"places": sheet.places, "maps": [{"name": name, **scale_of(map_RR)} for name, map_RR in sheet.maps.items()]}
            for sheet in sheets
        ],
    }
    maps = sum(len(sheet.maps) for sheet in sheets)
    return blocks.similarity_map(list(map(picture, sheets)), maps, chosen, are_alike, json_block(content))


def scale_of(similarity_SS: np.ndarray) -> dict[str, float]:
    """The similarities of the first and of the last shade of a map, and those that are shown darkest and brightest."""
    low, high = shown_range(similarity_SS)
    dark, bright = coloured_range(similarity_SS)
    return {"low": low, "high": high, "dark": dark, "bright": bright}


def shown_range(similarity_SS: np.ndarray) -> tuple[float, float]:
    """The least and the largest similarity of two different sentences."""
    pairs = different(similarity_SS)
    return float(pairs.min()), float(pairs.max())


def shades(similarity_SS: np.ndarray, low: float, high: float) -> np.ndarray:
    """Similarities as bytes: 0 is `low`, 255 is `high`; a sentence with itself is 255."""
    scale = SHADES / (high - low) if high > low else 0.0
    return np.rint((similarity_SS.astype(float) - low).clip(0, high - low) * scale).astype(np.uint8)


def palette() -> list[list[int]]:
    """The colours of Figure 2, one per shade, as red, green and blue from 0 to 255."""
    return matplotlib.colormaps["viridis"](np.arange(SHADES + 1), bytes=True)[:, :3].tolist()


def picture(sheet: Sheet) -> str:
    """A PNG of grey bytes, the maps of a sheet one below another, as an address that needs no network."""
    file = io.BytesIO()
    Image.fromarray(np.concatenate([shades(map_SS, *shown_range(map_SS)) for map_SS in sheet.maps.values()])).save(file, "PNG")
    return address(file.getvalue())
