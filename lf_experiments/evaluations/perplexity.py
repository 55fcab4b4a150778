"""Perplexity of every language under every intervention (sec. 4.3, Tables 1 and 4).

Shapes are written as suffixes: W windows of a text.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lf_experiments.evaluations.cells import IDENTITY, Cell, KeptCells, Row
from lf_experiments.evaluations.finite import refuse_infinite
from lf_experiments.evaluations.losses import head_can_be_chunked, window_nll
from lf_experiments.evaluations.matrix import SIDE_BY_SIDE, matrix, read_cells
from lf_experiments.evaluations.windows import Window
from lf_experiments.measures.uncertainty.effects import FEW_WINDOWS, LEAST_WINDOWS, log_ratio
from lf_experiments.models.batches import warn_of_long_sequences
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import NONE, Intervention

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Likelihood:
    """How well a model predicts a text."""

    windows: list[Window]
    nll_W: list[float]
    """Summed negative log-likelihood of the predicted tokens of each window, in nats."""

    @property
    def nll(self) -> float:
        """Summed negative log-likelihood of all predicted tokens, in nats."""
        return math.fsum(self.nll_W)

    @property
    def tokens(self) -> int:
        """Predicted tokens."""
        return sum(window.tokens for window in self.windows)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes that the predicted tokens stand for."""
        return sum(window.bytes for window in self.windows)

    @property
    def perplexity(self) -> float:
        """As `perplexity`."""
        return perplexity(self.nll, self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """As `bits_per_byte`."""
        return bits_per_byte(self.nll, self.bytes)


def perplexity(nll: float, tokens: int) -> float:
    """exp of the mean negative log-likelihood per predicted token; infinite beyond the largest float."""
    try:
        return math.exp(nll / tokens)
    except OverflowError:
        return math.inf


def bits_per_byte(nll: float, num_bytes: int) -> float:
    """The negative log-likelihood in bits per byte: comparable across tokenizers, which perplexity is not."""
    return nll / math.log(2) / num_bytes


def measure_perplexity(
    reader: Reader,
    interventions: list[Intervention],
    windows: dict[str, list[Window]],
    batch_tokens: int,
    kept: KeptCells,
) -> pd.DataFrame:
    """Read the windows of every language under every intervention: the cells for `perplexity_table` and `window_table`.

    `kept` as in `matrix`. Raises `InputError` for logits that are not finite.
    """
    texts = [(language, len(window.ids)) for language, of_text in windows.items() for window in of_text]
    lengths = [length for _, length in texts]
    warn_of_long_sequences("window", lengths, batch_tokens, lambda row: f"A window of the text in {texts[row][0]}")
    chunked = reader.ask(head_can_be_chunked)
    tokens = {language: sum(len(window.ids) for window in of_text) for language, of_text in windows.items()}

    def evaluate(cells: list[Cell]) -> Iterator[list[Row]]:
        most = SIDE_BY_SIDE * batch_tokens
        for cell, nll_W in read_cells(reader, cells, windows, tokens, most, window_nll, batch_tokens, chunked):
            found = Likelihood(windows[cell.language], nll_W)
            refuse_infinite(math.isfinite(found.nll), f"the text in {cell.language}", cell.under)
            yield [{"nll": found.nll, "tokens": found.tokens, "bytes": found.bytes, "nll_by_window": found.nll_W}]

    return matrix("perplexity", evaluate, interventions, list(windows), kept)


def perplexity_table(cells: pd.DataFrame) -> pd.DataFrame:
    """The content of `perplexity.csv` but for `log_ratios`; the increase, in percent, is against the full model."""
    table = cells[[*IDENTITY, "nll", "tokens", "bytes"]].copy()
    at = len(IDENTITY)
    table.insert(at, "perplexity", [perplexity(*found) for found in zip(cells["nll"], cells["tokens"], strict=True)])
    before = table[table["deactivated"] == NONE].set_index("language")["perplexity"]
    table.insert(at + 1, "increase_percent", 100 * (table["perplexity"] / table["language"].map(before) - 1))
    table["bits_per_byte"] = bits_per_byte(table["nll"], table["bytes"])
    return table


def log_ratios(cells: pd.DataFrame, windows: dict[str, list[Window]], level: float | None) -> pd.DataFrame:
    """The last columns of `perplexity.csv`: `log_ratio`, of the perplexity of a cell to that of the full model, `lo` and `hi`.

    It is in nats per token, its interval over windows. Without a level, of a text of one window, and of the full model itself
    there is no interval.
    """
    tokens = {language: np.array([window.tokens for window in of_text]) for language, of_text in windows.items()}
    rows = cells.to_dict("records")
    full = {row["language"]: np.array(row["nll_by_window"]) for row in rows if row["deactivated"] == NONE}
    found = []
    for row in rows:
        effect = log_ratio(full[row["language"]], np.array(row["nll_by_window"]), tokens[row["language"]])
        low, high = effect.interval(level) if level and row["deactivated"] != NONE else (math.nan, math.nan)
        found.append((effect.value, low, high))
    return pd.DataFrame(found, cells.index, columns=["log_ratio", "lo", "hi"])


def warn_of_few_windows(windows: dict[str, list[Window]]) -> None:
    """Warn of texts with so few windows that intervals over them say little, or cannot be had."""
    few = {language: len(of_text) for language, of_text in windows.items() if len(of_text) < FEW_WINDOWS}
    if not few:
        return
    none = "" if min(few.values()) >= LEAST_WINDOWS else "; of a single window there is none"
    log.warning(
        "intervals of perplexity rest on fewer than %d windows of text in %s%s: give more text, or a smaller text.window",
        FEW_WINDOWS,
        ", ".join(f"{language} ({count})" for language, count in few.items()),
        none,
    )


def window_table(cells: pd.DataFrame, windows: dict[str, list[Window]]) -> pd.DataFrame:
    """The content of `perplexity_windows.parquet`: a row per window and cell, windows numbered within their language."""
    rows = [
        {**{name: cell[name] for name in IDENTITY}, "window": number, "nll": nll}
        | {"tokens": window.tokens, "bytes": window.bytes}
        for cell in cells.to_dict("records")
        for number, (window, nll) in enumerate(zip(windows[cell["language"]], cell["nll_by_window"], strict=True))
    ]
    return pd.DataFrame(rows)


def baseline(table: pd.DataFrame) -> dict[str, float]:
    """The perplexity of every language under no intervention, for JSON: the largest float stands for infinity."""
    whole = table[table["deactivated"] == NONE].set_index("language")["perplexity"]
    return whole.clip(upper=sys.float_info.max).to_dict()
