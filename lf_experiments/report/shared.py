"""The sections that the report of a run and that of a sweep have in common."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from PIL import Image

from lf_experiments.figures import style
from lf_experiments.figures.figure import Figure
from lf_experiments.paper.numbers import TABLES, beside_paper_text
from lf_experiments.paper.verdicts import Verdict
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import Table
from lf_experiments.runs.run import Run

KINDS = 3
"""Lines per row of the paper's tables: measured, paper, difference."""
REMS_PER_INCH = 3.5
"""How narrow an inch of a figure may become before it is scrolled instead, in the widths of a letter that CSS counts in."""
AS_IT_IS = 200 << 10
"""Bytes of a picture above which it is shown in 256 colours: a page is to be sent by mail."""
VERDICTS = (
    "Each observation is made of claims, and each claim is decided by a rule and its interval, never by a number alone: it "
    "holds where the interval lies on its side, does not hold where it lies on the other, and is undecided where it includes "
    "both, or where there is none. An observation holds where all claims of its title hold. Claims marked ∗ are secondary: "
    "reported, but not part of the verdict."
)
BESIDE = (
    "What was measured, what the paper printed, and the difference, in the rows and columns of its table: perplexity of the "
    "full model, then its increase in percent without random neurons or without the key region of a language (×), and the "
    "number of neurons that are off. The paper read verses of the Bible and articles of XL-Sum; other sentences and other text "
    "account for a part of every difference."
)


def warnings_section(warnings: list[str]) -> Section | None:
    """What is wrong, before anything else."""
    return section("warnings", "Before you believe the numbers", blocks.listing(warnings), is_loud=True) if warnings else None


def observations(verdicts: list[Verdict]) -> Section | None:
    """The verdict on each of the paper's observations, claim by claim, with the figures it rests on."""
    shown = [blocks.soft(VERDICTS), *map(blocks.verdict, verdicts)] if verdicts else []
    return section("observations", "The paper's observations", *shown)


def gallery(figures: list[tuple[Figure, Path]]) -> Section | None:
    """The figures, which carry their own bytes."""
    return section("figures", "Figures", *(picture(figure, path) for figure, path in figures))


def picture(figure: Figure, path: Path) -> Markup:
    """A figure with its caption, and how narrow it may become."""
    image = path.read_bytes()
    width = int.from_bytes(image[16:20], "big") / style.DOTS_PER_INCH
    return blocks.picture(
        figure, address(image if len(image) <= AS_IT_IS else in_few_colours(image)), round(REMS_PER_INCH * width)
    )


def address(image: bytes) -> str:
    """A PNG as an address that needs no network."""
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"


def in_few_colours(image: bytes) -> bytes:
    """A PNG in 256 colours, which makes it a third or a quarter as large; no eye sees it."""
    file = io.BytesIO()
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


def beside_paper(runs: list[Run]) -> Section | None:
    """What runs measured beside the paper's numbers of the same models; None where the paper has none of them."""
    found = [(run, text) for run in runs if run.metrics and (text := beside_paper_text(run)) is not None]
    parts = [block for run, text in found for block in beside_table(run.metrics.model, text)]
    return section("paper", "Beside the paper", blocks.soft(BESIDE), *parts) if parts else None


def beside_table(model: str, text: pd.DataFrame) -> list[Markup]:
    """The heading and the table of one model; the two rows about the regions stay below."""
    rows = text.to_numpy().tolist()
    groups = [rows[start : start + KINDS] for start in range(0, len(rows), KINDS)]
    table = Table(list(text), groups[:-2], [*groups[-2], *groups[-1]])
    return [blocks.heading(f"{model} and {TABLES[model]}"), blocks.table(table)]
