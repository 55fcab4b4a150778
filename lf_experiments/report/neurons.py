"""The neuron browser: the strongest neurons of every language, when each is active, and what it writes."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.report.page import Section, blocks, json_block, section
from lf_experiments.report.table import plain_table
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import share_text

INTRODUCTION = (
    "The neurons that belong most clearly to each language, by the score of the probe: how active each is on average in every "
    "language, and the sentences in which it is most active. The words are those that the neuron makes more likely where it is "
    "active: what it adds to the model's state, read by the last matrix of the model alone, so they are a hint and no proof."
)
NO_WORDS = " The words could not be read from these weights."


def neuron_browser(run: Run) -> Section | None:
    """The neurons with their numbers, and below them as a table; None where none were described."""
    if run.neurons is None or run.neurons.empty or run.samples is None:
        return None
    table, samples = run.neurons, run.samples
    codes = list(samples["language"].unique())
    shown = sorted({place for places in table["sentences"] for place in places})
    with_neurons = [code for code in codes if code in set(table["language"])]
    content = {
        "languages": [{"code": code, "name": language_name(code)} for code in codes],
        "shown": [codes.index(code) for code in with_neurons],
        "sentences": {int(place): [codes.index(samples["language"][place]), samples["text"][place]] for place in shown},
        "neurons": [facts(row, codes) for _, row in table.iterrows()],
    }
    text = INTRODUCTION + ("" if any(map(len, table["words"])) else NO_WORDS)
    browser = blocks.neurons(list(map(language_name, with_neurons)), json_block(content))
    folded = blocks.folded("All of them as a table", blocks.table(plain_table(as_table(table, codes))))
    return section("neurons", "Neurons one by one", blocks.soft(text), browser, folded)


def facts(row: pd.Series, codes: list[str]) -> dict[str, Any]:
    """What the page says of a neuron."""
    frequency = row["frequency"]
    return {
        "language": codes.index(row["language"]),
        "place": place_text(row),
        "score": f"{row['z']:.2f}",
        "frequency": "" if math.isnan(frequency) else share_text(frequency),
        "mean": [round(float(value), 5) for value in row["mean"]],
        "sentences": list(map(int, row["sentences"])),
        "activations": [round(float(value), 4) for value in row["activations"]],
        "words": list(row["words"]),
    }


def place_text(row: pd.Series) -> str:
    """Where a neuron is; of a mixture of experts also in which of them."""
    expert = row.get("expert", -1)
    return f"layer {row['layer']}, neuron {row['neuron']}" + (f", expert {expert}" if expert >= 0 else "")


def as_table(table: pd.DataFrame, codes: list[str]) -> pd.DataFrame:
    """The neurons as text, one in a row."""
    columns = {
        "Language": table["language"].map(language_name),
        "Layer": table["layer"].map(str),
        "Neuron": table["neuron"].map(str),
        "Score": table["z"].map("{:.2f}".format),
        "Selected by halves": ["–" if math.isnan(share) else share_text(share) for share in table["frequency"]],
        "Most active in": [language_name(codes[max(range(len(codes)), key=mean.__getitem__)]) for mean in table["mean"]],
        "Words it writes": [", ".join(word.strip() for word in words) or "–" for words in table["words"]],
    }
    return pd.DataFrame(columns)
