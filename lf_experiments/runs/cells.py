"""The matrix of deactivation cell by cell, in nats per token: what switches from unit to unit without another computation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from lf_experiments.runs.derived import CONTROLS, MATCHED, NOTHING, is_at_full_dose, what_is_off
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.run import Run

NATS, AGAINST = "nats", "against_control"
COLUMNS = [NATS, NATS + LOW, NATS + HIGH, AGAINST, AGAINST + LOW, AGAINST + HIGH]


def cells(run: Run) -> pd.DataFrame | None:
    """What every region and every control costs every language, at the full dose; None where nothing was switched off.

    A row per `language` and `deactivated`, regions before controls (`random`, `matched`), of which each is the mean over its
    draws. `nats` is the rise of the logarithm of perplexity, `against_control` how much more that is than random neurons cost,
    each with its ends (`_lo`, `_hi`), NaN where there is none.
    """
    if run.perplexity is None:
        return None
    table = run.perplexity[is_at_full_dose(run.perplexity)]
    rises = table["log_ratio"] if "log_ratio" in table else np.log1p(table["increase_percent"] / 100)
    ends = {NATS + end: table.get(end.removeprefix("_"), math.nan) for end in (LOW, HIGH)}
    of_control = {name: table.get(name, math.nan) for name in COLUMNS[3:]}
    rows = table.assign(deactivated=what_is_off(table), **{NATS: rises}, **ends, **of_control).query("deactivated != @NOTHING")
    if rows.empty:
        return None
    rows[[NATS + LOW, NATS + HIGH]] = rows[[NATS + LOW, NATS + HIGH]].mask(rows["deactivated"].isin(CONTROLS))  # of one draw
    found = rows.groupby(["language", "deactivated"], sort=False)[COLUMNS].mean()
    in_order = sorted(rows["deactivated"].unique(), key=lambda name: (name in CONTROLS, name == MATCHED))
    return found.reindex(in_order, level="deactivated").reset_index()


def bits_per_byte(perplexity: pd.DataFrame) -> pd.Series:
    """What one nat per token is in bits per byte of text, by language, from `perplexity.csv`."""
    full = perplexity[perplexity["deactivated"] == NOTHING].set_index("language")
    return full["tokens"] / full["bytes"] / math.log(2)
