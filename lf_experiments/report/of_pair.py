"""The page of two runs side by side: what they differ in, and by how much."""

from __future__ import annotations

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.report import facts
from lf_experiments.report.numbers import number_text
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import heading, plain_table, with_strong_diagonal
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES, Score
from lf_experiments.runs.text import share_text

FIRST, SECOND, DIFFERENCE = "First", "Second", "Second less first"
SCORES_TEXT = (
    "In brackets behind a difference is its interval. Where both runs read the same sentences it is paired, meaning by "
    "meaning, which makes it far narrower than those of the two scores; where the interval includes 0, no difference is shown."
)
LAYERS_TEXT = "The difference of every layer, the second run less the first, with the interval of each layer by itself."
REGIONS_TEXT = (
    "Neurons that are key for a language in both runs, and what two random sets of the same sizes would share by chance."
)
MATRIX_TEXT = (
    "By how many nats per token more (or, below 0, fewer) the second run's model loses than the first one's: rows are the "
    "evaluated languages, columns the regions that are off (×). In brackets the paired interval over windows of text; a "
    "difference whose interval includes 0 is in square brackets."
)
NO_NEURONS = "The models do not have the same layers and neurons: their regions cannot be compared neuron by neuron."
LOSS = Score("loss", "Loss", "", "{:+.3f}".format)
"""How a difference of losses is written."""


def sections_of_pair(one: Run, other: Run, tables: dict[str, pd.DataFrame]) -> list[Section]:
    """The sections of the page; `tables` are those of `side_by_side`, by the name of their file."""
    sections = [
        what_was_run(one, other),
        scores(tables["scores"]),
        layers(tables.get("layers")),
        regions(tables.get("regions"), one),
        matrix(tables.get("losses")),
    ]
    return [part for part in sections if part]


def what_was_run(one: Run, other: Run) -> Section:
    """The facts of both, side by side; those that differ stand out."""
    found = [facts.main_facts(run) | {"Folder": str(run.folder)} for run in (one, other)]
    names = dict.fromkeys([*found[0], *found[1]])
    rows = [[name, *(of_run.get(name, "–") for of_run in found)] for name in names]
    same = [(name, first) for name, first, second in rows if first == second]
    table = plain_table(pd.DataFrame([row for row in rows if row[1] != row[2]], columns=["", FIRST, SECOND]))
    return section(
        "run", "What was run", blocks.heading("Different"), blocks.table(table), blocks.heading("The same"), blocks.words(same)
    )


def scores(table: pd.DataFrame) -> Section | None:
    """Every score of both runs and its difference."""
    by_key = {score.key: score for score in SCORES}
    rows = [
        [
            by_key[row["score"]].title,
            by_key[row["score"]].text(row["first"]),
            by_key[row["score"]].text(row["second"]),
            number_text(by_key[row["score"]], row["difference"], (row["lo"], row["hi"])),
        ]
        for _, row in table.iterrows()
    ]
    if not rows:
        return None
    shown = plain_table(pd.DataFrame(rows, columns=["Score", FIRST, SECOND, DIFFERENCE]))
    return section("scores", "Scores", blocks.soft(SCORES_TEXT), blocks.table(shown))


def layers(table: pd.DataFrame | None) -> Section | None:
    """The differences of every layer."""
    if table is None:
        return None
    columns = {"Layer": table["layer"]}
    for score in (score for score in SCORES if score.key in table):
        ends = zip(table[score.key], table[f"{score.key}_lo"], table[f"{score.key}_hi"], strict=True)
        columns[score.title] = [number_text(score, value, (low, high)) for value, low, high in ends]
    return section("layers", "Layers", blocks.soft(LAYERS_TEXT), blocks.table(plain_table(pd.DataFrame(columns))))


def regions(table: pd.DataFrame | None, one: Run) -> Section | None:
    """What the regions have in common."""
    if table is None:
        return section("regions", "Regions in common", blocks.soft(NO_NEURONS)) if one.key_neurons is not None else None
    columns = {
        "Language": table["language"].map(language_name),
        f"{FIRST}: key neurons": table["first"].map("{:,}".format),
        f"{SECOND}: key neurons": table["second"].map("{:,}".format),
        "In both": table["shared"].map("{:,}".format),
        "In both, of either": table["jaccard"].map(share_text),
        "By chance": table["by_chance"].map("{:,.0f}".format),
    }
    return section("regions", "Regions in common", blocks.soft(REGIONS_TEXT), blocks.table(plain_table(pd.DataFrame(columns))))


def matrix(table: pd.DataFrame | None) -> Section | None:
    """The difference of the two matrices of deactivation."""
    if table is None or table.empty:
        return None
    cells = table.assign(text=[cell_text(row) for _, row in table.iterrows()])
    wide = cells.pivot(index="language", columns="deactivated", values="text")
    wide = wide.reindex(table["language"].unique())[list(table["deactivated"].unique())].fillna("–")
    shown = wide.set_axis(list(map(heading, wide)), axis=1).set_axis(list(map(language_name, wide.index)))
    text = plain_table(shown.rename_axis("Language").reset_index())
    return section("losses", "Losses without a region", blocks.soft(MATRIX_TEXT), blocks.table(with_strong_diagonal(text)))


def cell_text(row: pd.Series) -> str:
    """A difference with its interval; in brackets where the interval includes 0."""
    text = number_text(LOSS, row["difference"], (row["lo"], row["hi"]))
    return f"[{text}]" if row["lo"] <= 0 <= row["hi"] else text
