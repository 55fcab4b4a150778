"""What every language loses without each key linguistic region, and without random neurons (sec. 4.3, Table 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from lf_experiments.evaluations.perplexity import Window, head_can_be_chunked, likelihood
from lf_experiments.models.load import Reader

NOTHING = "none"
RANDOM = "random"

Cell = dict[str, Any]
"""What was found for one language under one deactivation: a row of `perplexity.csv`, but for the increase, or `cloze.csv`."""


@dataclass(frozen=True)
class Deactivation:
    """Neurons to switch off together."""

    name: str
    """`NOTHING`, the language whose key region it is, or `RANDOM`."""
    draw: int
    """Which of the random draws; 0 for the others."""
    off_LN: Tensor
    """The neurons, (layers, neurons of a layer), bool."""


def perplexity_table(
    reader: Reader,
    deactivations: list[Deactivation],
    windows: dict[str, list[Window]],
    batch_tokens: int,
    cells: list[Cell],
    keep: Callable[[list[Cell]], None],
) -> pd.DataFrame:
    """The perplexity of every language under every deactivation, in the columns of `perplexity.csv`.

    `windows` holds the text of each language. The first deactivation is `NOTHING`: the increase is against it. `cells` and
    `keep` as in `every_cell`.
    """
    chunked = head_can_be_chunked(reader.model)

    def evaluate(language: str, off_LN: Tensor) -> Cell:
        found = likelihood(reader, windows[language], batch_tokens, chunked, off_LN)
        return {
            "perplexity": found.perplexity,
            "nll": found.nll,
            "tokens": found.tokens,
            "bytes": found.bytes,
            "bits_per_byte": found.bits_per_byte,
        }

    table = every_cell("perplexity", deactivations, list(windows), evaluate, cells, keep)
    table.insert(4, "increase_percent", 100 * (table["perplexity"] / table["language"].map(baseline(table)) - 1))
    return table


def every_cell(
    title: str,
    deactivations: list[Deactivation],
    languages: list[str],
    evaluate: Callable[[str, Tensor], Cell],
    cells: list[Cell],
    keep: Callable[[list[Cell]], None],
) -> pd.DataFrame:
    """A row for every language under every deactivation: their names, and what `evaluate(language, off_LN)` finds.

    `cells` are those that an interrupted run has left, and are not evaluated again; `keep` is given all there are after each
    new one.
    """
    cells = list(cells)
    done = {(cell["deactivated"], cell["draw"], cell["language"]) for cell in cells}
    total = len(deactivations) * len(languages)
    with tqdm(total=total, initial=len(cells), desc=title, unit="cell", mininterval=1.0) as progress:
        for deactivation in deactivations:
            for language in languages:
                if (deactivation.name, deactivation.draw, language) not in done:
                    names = {"deactivated": deactivation.name, "draw": deactivation.draw, "language": language}
                    cells.append(names | evaluate(language, deactivation.off_LN))
                    keep(cells)
                    progress.update()
    return pd.DataFrame(cells)


def baseline(table: pd.DataFrame) -> dict[str, float]:
    """The perplexity of every language with no neuron off."""
    return table[table["deactivated"] == NOTHING].set_index("language")["perplexity"].to_dict()
