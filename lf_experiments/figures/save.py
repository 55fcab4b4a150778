"""The files of figures: a picture as PNG and PDF, a table as CSV and Markdown too, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure as Picture

from lf_experiments.figures.catalogue import FIGURES, SWEEP_FIGURES
from lf_experiments.figures.figure import Figure, drawn_alike
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.tables import write_csv
from lf_experiments.storage import write_text, written_whole

SUFFIXES = (".png", ".pdf", ".csv", ".md")


def save_figures(run: Run, figures: tuple[Figure, ...] = FIGURES) -> list[str]:
    """Draw every one of `figures` that the files of a run are enough for into its `figures/`; returns the stems drawn.

    The same tables give the same bytes. Figures whose files are gone go too.
    """
    return save(run.folder, figures, {figure: run for figure in figures if figure.can_draw(run)})


def save_sweep_figures(folder: Path, sweep: Sweep) -> list[str]:
    """Draw every figure that a sweep is enough for into `folder`/figures; returns the stems drawn.

    Those over training have `sweep.x` as their axis. Figures that cannot be drawn any more go.
    """
    return save(folder, SWEEP_FIGURES, subjects(sweep))


def subjects(sweep: Sweep) -> dict[Figure, Run | Sweep]:
    """What each figure of a sweep shows, of those that there is enough for."""
    return {figure: subject for figure in SWEEP_FIGURES if (subject := figure.subject_in(sweep)) is not None}


def saved_figures(folder: Path, figures: Iterable[Figure] = FIGURES) -> list[tuple[Figure, Path]]:
    """The figures there are in the folder of a run or a sweep, each with its PNG, in the order of the report."""
    paths = [(figure, folder / "figures" / f"{figure.stem}.png") for figure in figures]
    return [(figure, path) for figure, path in paths if path.exists()]


def save(folder: Path, figures: tuple[Figure, ...], drawn: dict[Figure, Run | Sweep]) -> list[str]:
    """Write the figures that can be drawn and remove what an earlier run left of the others."""
    for figure in figures:
        for suffix in SUFFIXES if figure not in drawn else ():
            (folder / "figures" / f"{figure.stem}{suffix}").unlink(missing_ok=True)
    for figure, subject in drawn.items():
        save_picture(figure.picture(subject), folder / "figures" / figure.stem)
        if figure.wide_table and isinstance(subject, Run):
            save_table(figure, subject, folder / "figures" / figure.stem)
    return [figure.stem for figure in drawn]


def save_picture(picture: Picture, path: Path) -> None:
    """Write `path`.png and `path`.pdf: both, whole, or none."""
    with drawn_alike(), written_whole(path.with_suffix(".png")) as png, written_whole(path.with_suffix(".pdf")) as pdf:
        FigureCanvasAgg(picture).print_png(png, metadata={"Software": None})  # `savefig` would draw it twice, as the next one
        picture.set_layout_engine("none")  # everything has its place by now, and finding it takes longer than drawing it
        FigureCanvasPdf(picture).print_pdf(pdf, metadata={"CreationDate": None})


def save_table(figure: Figure, run: Run, path: Path) -> None:
    """Write the numbers of a table as CSV, and its text as Markdown."""
    with written_whole(path.with_suffix(".csv")) as temporary:
        write_csv(figure.wide_table(run), temporary, index=True)
    text = figure.wide_text(run).reset_index()
    write_text(path.with_suffix(".md"), text.to_markdown(index=False, disable_numparse=True) + "\n")
