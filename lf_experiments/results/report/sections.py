"""The sections that the reports of runs and sweeps share: from the files of a run to what is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.results.figures import can_be_drawn, table1_deactivation, table2_generations
from lf_experiments.results.figures.table1_deactivation import NOTHING, RANDOM
from lf_experiments.results.figures.table2_generations import column_name, measures_text, samples
from lf_experiments.results.paper.numbers import TABLES, beside_paper_text
from lf_experiments.results.paper.verdicts import Part, Verdict
from lf_experiments.results.report.page import Table, plain_table, strong
from lf_experiments.results.tables import (
    key_neurons_by_layer,
    perplexity_text,
    read_json,
    read_table,
    region_sizes,
    score_text,
    share_text,
)

KINDS = 3
"""Lines per row of the paper's tables: measured, paper, difference."""


def observations(verdicts: list[Verdict], names: Iterable[str] = ()) -> list[tuple[Verdict, list[tuple[Part, list[str]]]]]:
    """Each verdict with its parts, and each part with its figures: a line for each of the `names` that they begin with."""
    end_of_line = re.compile(f"; (?=(?:{'|'.join(map(re.escape, names))}): )")
    return [(verdict, [(part, end_of_line.split(part.figures)) for part in verdict.parts]) for verdict in verdicts]


def notes(folder: Path) -> list[str]:
    """What to bear in mind with the numbers of a run: what the control is, and what perplexities do not say."""
    return [note for note in (control_note(folder), tokenizer_note(folder)) if note]


def control_note(folder: Path) -> str | None:
    """What the random neurons are."""
    if not can_be_drawn(table1_deactivation, folder):
        return None
    draws = read_table(folder / "perplexity.csv").query("deactivated == @RANDOM")["draw"].nunique()
    if not draws:
        return "No random neurons were switched off (control.draws=0): a loss may be due to the size of a region alone."
    largest = region_sizes(read_table(folder / "regions.csv"))["key_neurons"].max()
    mean = f"; where one number stands for them it is the mean of {draws} draws" if draws > 1 else ""
    return (
        f"Random neurons are the control: {largest:,} of them, as many as the largest key region has, drawn from all layers "
        f"with the seed of the run{mean}. A region matters where its own language loses more than without them."
    )


def tokenizer_note(folder: Path) -> str | None:
    """How different the tokens of the languages are; None where they are alike."""
    if not (folder / "perplexity.csv").exists():
        return None
    table = whole_model(read_table(folder / "perplexity.csv"))
    sizes = (table["bytes"] / table["tokens"]).set_axis(table["language"].map(language_name))
    if sizes.nunique() < 2:
        return None
    return (
        f"Perplexity is per token, and a token of {sizes.idxmax()} is {sizes.max():.1f} bytes of text, one of {sizes.idxmin()} "
        f"{sizes.min():.1f}: perplexities compare neither between languages nor between tokenizers. Bits per byte, which stand "
        "beside them, compare between models that read the same text; rises in percent compare within a language."
    )


def whole_model(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table in which nothing is switched off."""
    return table[table["deactivated"] == NOTHING]


def beside_paper(folder: Path) -> dict[str, Any] | None:
    """What a run measured beside the paper's numbers; None where the paper has none of its model."""
    if not (folder / "metrics.json").exists() or (text := beside_paper_text(folder)) is None:
        return None
    model = read_json(folder / "metrics.json")["model"]
    rows = text.to_numpy().tolist()
    groups = [rows[start : start + KINDS] for start in range(0, len(rows), KINDS)]
    return {"model": model, "source": TABLES[model], "table": Table(list(text), groups[:-2], [*groups[-2], *groups[-1]])}


def deactivation(folder: Path) -> Table | None:
    """The paper's Table 1, as text."""
    if not can_be_drawn(table1_deactivation, folder):
        return None
    return with_strong_diagonal(plain_table(table1_deactivation.wide_text(folder).reset_index(), foot=2))


def with_strong_diagonal(table: Table) -> Table:
    """A table in which the cells of a language without its own key region stand out."""
    groups = [
        [
            [strong(cell) if name == f"× {row[0]}" else cell for name, cell in zip(table.columns, row, strict=True)]
            for row in group
        ]
        for group in table.groups
    ]
    return replace(table, groups=groups)


def baseline(folder: Path) -> Table | None:
    """How well the full model predicts each language."""
    if not (folder / "perplexity.csv").exists():
        return None
    table = whole_model(read_table(folder / "perplexity.csv"))
    return plain_table(
        pd.DataFrame(
            {
                "Language": table["language"].map(language_name),
                "Perplexity": table["perplexity"].map(perplexity_text),
                "Bits per byte": table["bits_per_byte"].map("{:.3f}".format),
                "Tokens": table["tokens"].map("{:,}".format),
                "Bytes per token": (table["bytes"] / table["tokens"]).map("{:.2f}".format),
            }
        )
    )


def cloze(folder: Path) -> Table | None:
    """The accuracy on the stories of every language under every deactivation; of several random draws the mean."""
    if not (folder / "cloze.csv").exists():
        return None
    table = read_table(folder / "cloze.csv")
    languages = list(table["language"].unique())
    names = sorted(table["deactivated"].unique(), key=RANDOM.__eq__)
    cells = {
        "Language of the stories": [*map(language_name, languages), "Mean"],
        "Stories": [*whole_model(table)["items"].map("{:,}".format), ""],
        **{heading(name): cloze_column(table[table["deactivated"] == name], languages) for name in names},
    }
    return with_strong_diagonal(plain_table(pd.DataFrame(cells), foot=1))


def heading(deactivated: str) -> str:
    """What is switched off, in words."""
    return "Random neurons" if deactivated == RANDOM else column_name(deactivated)


def cloze_column(rows: pd.DataFrame, languages: list[str]) -> list[str]:
    """Accuracy of every language, with its standard error where it is of one draw, and the mean accuracy."""
    found = rows.groupby("language")[["accuracy", "stderr"]].mean().reindex(languages)
    errors = found["stderr"] if rows["draw"].nunique() == 1 else [None] * len(found)
    return [*map(accuracy_text, found["accuracy"], errors), accuracy_text(found["accuracy"].mean(), None)]


def accuracy_text(accuracy: float, error: float | None) -> str:
    """An accuracy in percent, with its standard error in points where it has one."""
    if pd.isna(accuracy):
        return "–"
    return share_text(accuracy) if error is None or pd.isna(error) else f"{share_text(accuracy)} ± {100 * error:.1f}"


def generations(folder: Path) -> list[dict[str, Any]]:
    """What was written, language by language: the sentences, and one row of texts for each deactivation."""
    if not can_be_drawn(table2_generations, folder):
        return []
    table = samples(folder)
    return [written(code, part) for code, part in table.groupby("language", sort=False)]


def written(code: str, table: pd.DataFrame) -> dict[str, Any]:
    """The texts of one language."""
    whole, without = whole_model(table), table[table["deactivated"] == code]
    rows = [
        {
            "name": column_name(deactivated),
            "is_own": deactivated == code,
            "texts": [{"text": row["text"].strip(), "note": measures_text(row)} for _, row in part.iterrows()],
        }
        for deactivated, part in table.groupby("deactivated", sort=False)
    ]
    return {
        "code": code,
        "language": language_name(code),
        "sentences": list(whole["prompt"]),
        "rows": rows,
        "change": f"{means_text(whole)} with all neurons; {means_text(without)} without its region",
    }


def means_text(table: pd.DataFrame) -> str:
    """The measures of several texts."""
    return measures_text(table[["script_share", "repetition"]].mean())


def layers(folder: Path) -> Table | None:
    """LRDS and SADS of every layer, and its key neurons where regions were probed."""
    if not (folder / "layers.csv").exists():
        return None
    table = read_table(folder / "layers.csv")
    text = pd.DataFrame({"Layer": table["layer"], "LRDS": table["lrds"].map(score_text), "SADS": table["sads"].map(score_text)})
    if (folder / "regions.csv").exists():
        key_neurons = key_neurons_by_layer(folder)
        text["Key neurons"] = table["layer"].map(key_neurons).map("{:,}".format)
    return plain_table(text)


def sentences(folder: Path) -> list[dict[str, str]]:
    """The first meaning in every language."""
    path = folder / "samples.csv"
    if not path.exists():
        return []
    table = read_table(path)
    first = table[table["meaning"] == table["meaning"].iloc[0]]
    return [
        {"code": code, "language": language_name(code), "text": text}
        for code, text in zip(first["language"], first["text"], strict=True)
    ]
