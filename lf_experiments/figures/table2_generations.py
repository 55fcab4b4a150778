"""Table 2: what the model writes after a sentence, whole and without the key region of a language, as a picture and a table."""

from __future__ import annotations

import html

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.patches import Rectangle

from lf_experiments.figures import style
from lf_experiments.figures.drawable import FONT, drawable, is_right_to_left, wrapped
from lf_experiments.figures.figure import Figure
from lf_experiments.figures.table1_deactivation import FULL_MODEL
from lf_experiments.languages import language_name
from lf_experiments.runs.derived import NOTHING, continuations
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import share_text

SENTENCE = "Sentence"
NO_TEXT = "(nothing)"
LANGUAGES_SHOWN = 3
SAMPLES_SHOWN = 3
LINES = 7
"""Of a cell, at most."""
LETTER_INCHES, LINE_INCHES = 0.069, 0.15
TEXT_SIZE, NOTE_SIZE, NAME_SIZE = 7.5, 6.5, 9
NAME_WIDTH, CELL_WIDTH = 14, 37
"""The name of a language, and a cell with the room around it, in letters of middling width."""
ROOM = 0.6
"""Below the text of a cell, in lines."""
NAME = {"fontsize": NAME_SIZE, "fontweight": "bold", "fontfamily": FONT}
TINT, FAINT = "#FBE9DD", "#666666"


def measures_text(sample: pd.Series) -> str:
    """How much of a text is in its script, where it has letters, and how much of it repeats."""
    script = "" if pd.isna(sample["script_share"]) else f"script {share_text(sample['script_share'])}, "
    return f"{script}repeated {share_text(sample['repetition'])}"


def column_name(deactivated: str) -> str:
    """What is switched off, in words."""
    return FULL_MODEL if deactivated == NOTHING else f"× {language_name(deactivated)}"


def draw(run: Run, title: str) -> Picture:
    """A cell per text: rows are sentences, columns what is switched off, for the first languages."""
    table = shown(continuations(run.generations))
    columns = [SENTENCE, *map(column_name, table["deactivated"].unique())]
    rows = [(language, row) for (language, _), row in table.groupby(["language", "sample"], sort=False)]
    heights = [height(row) for _, row in rows]

    size = NAME_WIDTH + CELL_WIDTH * len(columns), 2 + sum(heights)
    figure = style.new_figure(LETTER_INCHES * size[0], LINE_INCHES * size[1] + 0.8, title, run.title)
    axes = figure.add_subplot(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.set_axis_off()
    for number, name in enumerate(columns):
        axes.text(NAME_WIDTH + CELL_WIDTH * number + 1, 1.2, name, **NAME)
    top = 2.0
    for (language, row), room in zip(rows, heights, strict=True):
        draw_row(axes, top, room, language, row)
        top += room
    return figure


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The samples of the first languages, without the regions of others."""
    languages = list(table["language"].unique()[:LANGUAGES_SHOWN])
    is_shown = table["language"].isin(languages) & table["deactivated"].isin([NOTHING, *languages])
    return table[is_shown & (table["sample"] < SAMPLES_SHOWN)]


def height(row: pd.DataFrame) -> float:
    """The room that the texts of a sentence take, in lines."""
    texts = [len(lines_of(text)) + 1 for text in row["text"]]
    return max(len(lines_of(row["prompt"].iloc[0])), *texts) + ROOM


def lines_of(text: str, width: float = CELL_WIDTH - 3, size: float = TEXT_SIZE) -> list[str]:
    """The lines of a cell that is so many letters wide."""
    return wrapped(drawable(text) or NO_TEXT, 72 * LETTER_INCHES * width, size, LINES)


def draw_row(axes: Axes, top: float, room: float, language: str, row: pd.DataFrame) -> None:
    """A sentence and what follows it, from the line `top` on, `room` lines high."""
    is_first = row["sample"].iloc[0] == 0
    axes.axhline(top, color="#999999" if is_first else "#DDDDDD", linewidth=0.8)
    for number, line in enumerate(lines_of(language_name(language), NAME_WIDTH - 3, NAME_SIZE) if is_first else (), start=1):
        axes.text(0, top + number, line, **NAME)
    write(axes, NAME_WIDTH, top, row["prompt"].iloc[0], "")
    for number, (_, sample) in enumerate(row.iterrows(), start=1):
        left = NAME_WIDTH + CELL_WIDTH * number
        if sample["deactivated"] == language:
            axes.add_patch(Rectangle((left, top), CELL_WIDTH, room, facecolor=TINT, zorder=0))
        write(axes, left, top, sample["text"], measures_text(sample))


def write(axes: Axes, left: float, top: float, text: str, note: str) -> None:
    """A text into its cell, from its own side, and a note below it."""
    lines = lines_of(text)
    side, place = ("right", left + CELL_WIDTH - 1) if is_right_to_left(drawable(text)) else ("left", left + 1)
    for number, line in enumerate(lines, start=1):
        axes.text(place, top + number, line, ha=side, fontsize=TEXT_SIZE, color=FAINT if line == NO_TEXT else style.DARK)
    axes.text(left + 1, top + len(lines) + 1, note, fontsize=NOTE_SIZE, color=FAINT)


def wide_table(run: Run) -> pd.DataFrame:
    """The paper's Tables 2 and 3: rows are languages and their sentences, columns the full model and each deactivation."""
    table = continuations(run.generations)
    return side_by_side(table, table["text"])


def wide_text(run: Run) -> pd.DataFrame:
    """`wide_table` with the measures of every text, such that Markdown leaves each text as it is, on one line."""
    table = continuations(run.generations)
    texts = [f"{one_line(sample['text'] or NO_TEXT)}<br>({measures_text(sample)})" for _, sample in table.iterrows()]
    wide = side_by_side(table, pd.Series(texts, table.index))
    return wide.rename(index=one_line, level=SENTENCE)


def side_by_side(table: pd.DataFrame, cells: pd.Series) -> pd.DataFrame:
    """One cell per text: rows are languages and sentences, columns what is deactivated."""
    table = table.assign(cell=cells, Language=table["language"].map(language_name))
    table = table.rename(columns={"prompt": SENTENCE})
    parts = {column_name(code): part for code, part in table.groupby("deactivated", sort=False)}
    wide = pd.concat({name: part.set_index(["Language", "sample", SENTENCE])["cell"] for name, part in parts.items()}, axis=1)
    return wide.droplevel("sample")


def one_line(text: str) -> str:
    """A text on one line of Markdown, none of it taken for markup."""
    return "<br>".join(html.escape(text, quote=False).replace("|", "&#124;").splitlines())


FIGURE = Figure(
    number="Table 2",
    stem="table2_generations",
    title="Text written without a key region",
    caption=(
        "What the model writes after a sentence (first column), always taking the likeliest token: the whole model, and the "
        "model while the key neurons of one language are set to zero (the paper's Table 2). A language without its own region "
        "(tinted) may lose its script, mix with another, repeat itself or fall silent; without the region of another it should "
        "stay as it was. In grey: the share of the letters that are of the script of the language, and the share of runs of "
        "four tokens that stood there before. � is half of a character. The picture shows the first languages and cuts long "
        "texts; letters that no font of the machine has are counted in brackets (the fonts of pip install "
        "'lf_experiments[fonts]' have nearly all). The whole texts are in generations.csv and in the table of the report."
    ),
    needs=("generations.csv",),
    draw=draw,
    wide_table=wide_table,
    wide_text=wide_text,
)
