"""The figures of runs and sweeps, one module each, named as the paper numbers them: a table in, a figure out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from lf_experiments.results.families import final_runs, is_llama, main_run
from lf_experiments.results.figures import (
    cloze_deactivation,
    figure2_similarity_map,
    figure3_layer_scores,
    figure4_training_dynamics,
    figure5_key_neurons_by_layer,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language,
    figure6_key_neurons_by_language_and_step,
    figure7_model_scale,
    figure8_similarity_maps_llama2,
    figure9_layer_scores_llama2,
    figure10_model_scale_llama2,
    figure11_key_neurons_by_language_llama2,
    table1_deactivation,
    table2_generations,
    table3_generations_llama2,
    table4_deactivation_llama2,
)
from lf_experiments.results.tables import write_csv
from lf_experiments.storage import write_text, written_whole

FIGURES: tuple[ModuleType, ...] = (
    figure2_similarity_map,
    figure3_layer_scores,
    table1_deactivation,
    cloze_deactivation,
    table2_generations,
    figure5_key_neurons_by_layer,
    figure6_key_neurons_by_language,
)
"""The figures of one run, in the order in which the report shows them."""

EVOLUTION_FIGURES: tuple[ModuleType, ...] = (
    figure4_training_dynamics,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language_and_step,
    figure7_model_scale,
    figure8_similarity_maps_llama2,
    figure10_model_scale_llama2,
)
"""The figures of a sweep that set its runs side by side."""

MAIN_RUN_FIGURES = (figure2_similarity_map, figure3_layer_scores, table1_deactivation, table2_generations)
"""The figures of a sweep that show one run: of those with final weights, LLaMA models aside, the one with most stages done."""

MAIN_LLAMA_RUN_FIGURES = (
    figure9_layer_scores_llama2,
    table4_deactivation_llama2,
    figure11_key_neurons_by_language_llama2,
    table3_generations_llama2,
)
"""The figures of a sweep that show one run of a LLaMA, chosen likewise."""

SWEEP_FIGURES: tuple[ModuleType, ...] = (
    *MAIN_RUN_FIGURES[:3],
    *EVOLUTION_FIGURES[:4],
    table2_generations,
    figure8_similarity_maps_llama2,
    figure9_layer_scores_llama2,
    table4_deactivation_llama2,
    figure10_model_scale_llama2,
    figure11_key_neurons_by_language_llama2,
    table3_generations_llama2,
)
"""The figures of a sweep, all that the paper has, in the order in which its report shows them."""

TABLES = (table1_deactivation, table2_generations, table3_generations_llama2, table4_deactivation_llama2)
"""What is written as CSV and Markdown too."""


def stem(module: ModuleType) -> str:
    """The name that a figure's module and files share."""
    return module.__name__.rpartition(".")[2]


def can_be_drawn(module: ModuleType, folder: Path) -> bool:
    """Whether the run folder holds every file the figure needs."""
    return all((folder / name).exists() for name in module.NEEDS)


def save_figures(folder: Path) -> list[str]:
    """Draw every figure whose files the run folder holds into `figures/`; returns the stems drawn.

    The same tables give the same bytes. Tables are also written as CSV and Markdown. Figures whose files are gone go too.
    """
    drawn = [module for module in FIGURES if can_be_drawn(module, folder)]
    remove_others(folder, FIGURES, drawn)
    for module in drawn:
        save_figure_of_run(module, folder, folder)
    return list(map(stem, drawn))


def save_sweep_figures(folder: Path, table: pd.DataFrame, x: str) -> list[str]:
    """Draw every figure that the runs of a sweep table are enough for into `figures/`; returns the stems drawn.

    `x`, the axis of those over training, is `training_step` or `training_tokens`. Figures that cannot be drawn any more go.
    """
    of_runs = main_runs(table)
    drawn = [
        module for module in SWEEP_FIGURES if module in of_runs or (module in EVOLUTION_FIGURES and module.can_draw(table, x))
    ]
    remove_others(folder, SWEEP_FIGURES, drawn)
    for module in drawn:
        if module in of_runs:
            save_figure_of_run(module, of_runs[module], folder)
        else:
            save_figure(module.draw(table, x), folder / "figures" / stem(module))
    return list(map(stem, drawn))


def main_runs(table: pd.DataFrame) -> dict[ModuleType, Path]:
    """The run that each figure of one run shows in a sweep, where there is one with the files it needs."""
    runs = final_runs(table)
    others, llamas = main_run(runs[~is_llama(runs)]), main_run(runs[is_llama(runs)])
    wanted = dict.fromkeys(MAIN_RUN_FIGURES, others) | dict.fromkeys(MAIN_LLAMA_RUN_FIGURES, llamas)
    return {module: run for module, run in wanted.items() if run is not None and can_be_drawn(module, run)}


def saved_figures(folder: Path, modules: tuple[ModuleType, ...] = FIGURES) -> list[tuple[ModuleType, Path]]:
    """The figures there are in the folder of a run or a sweep, each with its PNG, in the order of the report."""
    paths = [(module, folder / "figures" / f"{stem(module)}.png") for module in modules]
    return [(module, path) for module, path in paths if path.exists()]


def remove_others(folder: Path, modules: tuple[ModuleType, ...], drawn: list[ModuleType]) -> None:
    """Remove what an earlier run in the same folder left of figures that are not to be drawn now."""
    for module in modules:
        for suffix in (".png", ".pdf", ".csv", ".md") if module not in drawn else ():
            (folder / "figures" / f"{stem(module)}{suffix}").unlink(missing_ok=True)


def save_figure_of_run(module: ModuleType, run: Path, folder: Path) -> None:
    """Draw a figure of the run folder `run` into the figures of `folder`; a table also as CSV, and as text in Markdown."""
    path = folder / "figures" / stem(module)
    save_figure(module.draw(run), path)
    if module in TABLES:
        with written_whole(path.with_suffix(".csv")) as temporary:
            write_csv(module.wide_table(run), temporary, index=True)
        text = module.wide_text(run).reset_index()
        write_text(path.with_suffix(".md"), text.to_markdown(index=False, disable_numparse=True) + "\n")


def save_figure(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.pdf: both, whole, or none."""
    with written_whole(path.with_suffix(".png")) as png, written_whole(path.with_suffix(".pdf")) as pdf:
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(pdf, metadata={"CreationDate": None})
