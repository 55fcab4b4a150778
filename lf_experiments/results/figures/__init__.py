"""The figures of a run, one module each, named as the paper numbers them: a table in, a figure out, no computation."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from lf_experiments.results.figures import (
    figure2_similarity_map,
    figure3_layer_scores,
    figure4_training_dynamics,
    figure5_key_neurons_by_layer,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language,
    figure6_key_neurons_by_language_and_step,
    figure7_model_scale,
    table1_deactivation,
)
from lf_experiments.storage import written_whole

FIGURES: tuple[ModuleType, ...] = (
    figure2_similarity_map,
    figure3_layer_scores,
    table1_deactivation,
    figure5_key_neurons_by_layer,
    figure6_key_neurons_by_language,
)
"""The figures of one run, in the order in which the report shows them."""

EVOLUTION_FIGURES: tuple[ModuleType, ...] = (
    figure4_training_dynamics,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language_and_step,
    figure7_model_scale,
)
"""The figures of a sweep, in the order in which its report shows them."""


def stem(module: ModuleType) -> str:
    """The name that a figure's module and files share."""
    return module.__name__.rpartition(".")[2]


def can_be_drawn(module: ModuleType, folder: Path) -> bool:
    """Whether the run folder holds every file the figure needs."""
    return all((folder / name).exists() for name in module.NEEDS)


def save_figures(folder: Path) -> list[str]:
    """Draw every figure whose files the run folder holds into `figures/`; returns the stems drawn.

    The same tables give the same bytes. Table 1 is also written as CSV and Markdown. Figures whose files are gone go too.
    """
    drawn = [module for module in FIGURES if can_be_drawn(module, folder)]
    for module in FIGURES:
        if module not in drawn:
            remove_figure(folder, module)
    for module in drawn:
        save_figure(module.draw(folder), folder / "figures" / stem(module))
    if table1_deactivation in drawn:
        table1_deactivation.save_table(folder)
    return [stem(module) for module in drawn]


def save_evolution_figures(folder: Path, table: pd.DataFrame, x: str) -> list[str]:
    """Draw every figure that a sweep table has the points for into `figures/`; returns the stems drawn.

    `x`, the axis of those over training, is `training_step` or `training_tokens`. Figures that cannot be drawn any more go.
    """
    drawn = [module for module in EVOLUTION_FIGURES if module.can_draw(table, x)]
    for module in EVOLUTION_FIGURES:
        if module not in drawn:
            remove_figure(folder, module)
    for module in drawn:
        save_figure(module.draw(table, x), folder / "figures" / stem(module))
    return [stem(module) for module in drawn]


def saved_figures(folder: Path, modules: tuple[ModuleType, ...] = FIGURES) -> list[tuple[ModuleType, Path]]:
    """The figures there are in the folder of a run or a sweep, each with its PNG, in the order of the report."""
    paths = [(module, folder / "figures" / f"{stem(module)}.png") for module in modules]
    return [(module, path) for module, path in paths if path.exists()]


def remove_figure(folder: Path, module: ModuleType) -> None:
    """Remove what an earlier run in the same folder left of a figure."""
    for suffix in (".png", ".pdf", ".csv", ".md"):
        (folder / "figures" / f"{stem(module)}{suffix}").unlink(missing_ok=True)


def save_figure(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.pdf: both, whole, or none."""
    with written_whole(path.with_suffix(".png")) as png, written_whole(path.with_suffix(".pdf")) as pdf:
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(pdf, metadata={"CreationDate": None})
