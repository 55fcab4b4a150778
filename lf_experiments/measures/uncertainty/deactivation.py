"""What a study of deactivations comes to: the effect of every key region on its own language and on others, beside controls.

All effects are rises of the logarithm of the perplexity, in nats per predicted token, at the full dose. Windows of one language
are paired; the texts of different languages are taken to be independent of each other.

Shapes are written as suffixes: W windows of a language, R draws of a control.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lf_experiments.intervals import Effect, combined, holm
from lf_experiments.measures.uncertainty.effects import (
    against_control,
    assignment_p_value,
    control_p_value,
    log_ratio,
)

PERMUTATIONS = 9999
"""Of the regions over the languages."""
TESTED = ("selectivity", "margin", "against_control")
"""The effects that are judged language by language, each with its p value and that which Holm adjusts over languages."""
MEANS = ("own", "spill", "selectivity", "against_control", "exposure_against_control")
"""The effects whose mean over languages is told."""


@dataclass(frozen=True)
class Losses:
    """The summed negative log-likelihood of every window of one language, in nats, under everything that was done."""

    tokens_W: np.ndarray
    full_W: np.ndarray
    """Of the full model."""
    without: dict[str, np.ndarray]
    """{language: nats (W,) without its key region}"""
    control_RW: np.ndarray
    """Without random neurons: those that match the language's own region or, where there are none, the paper's."""

    def rise(self, region: str) -> Effect:
        """How much a key region costs this language."""
        return log_ratio(self.full_W, self.without[region], self.tokens_W)


def losses_by_language(windows: pd.DataFrame, full: str, random: str, dose: float | None = None) -> dict[str, Losses]:
    """The losses of every language from `perplexity_windows.parquet`; `full` and `random` name them in its `deactivated`.

    Those at one dose: by default at the largest.
    """
    if dose is None:
        dose = windows.loc[windows["deactivated"] != full, "dose"].max()
    shown = windows[(windows["deactivated"] == full) | (windows["dose"] == dose)]
    return {language: losses_of(rows, full, random) for language, rows in shown.groupby("language", sort=False)}


def losses_of(rows: pd.DataFrame, full: str, random: str) -> Losses:
    """The losses of one language from its rows."""
    nats = {
        name: of_cell.sort_values("window")["nll"].to_numpy(float)
        for name, of_cell in rows.groupby(["deactivated", "draw", "matches"], sort=False)
    }
    of_full = rows[rows["deactivated"] == full].sort_values("window")
    controls = [name for name in nats if name[0] == random]
    matched = [name for name in controls if name[2]]
    return Losses(
        of_full["tokens"].to_numpy(float),
        nats[full, 0, ""],
        {name[0]: nats_W for name, nats_W in nats.items() if name[0] not in (full, random)},
        np.array([nats[name] for name in matched or controls]).reshape(-1, len(of_full)),
    )


def effects(losses: dict[str, Losses], language: str) -> dict[str, Effect]:
    """What the key region of a language does, and what the regions of others do to it.

    * `own`: to its own language
    * `spill`: to the other languages, their mean
    * `selectivity`: own less spill
    * `margin`: own less the other language that it costs most
    * `exposure`: what the regions of other languages do to this one, their median (of two in the middle the mean)
    * `control`: what random neurons do to this language, their mean; with `against_control`, own less control, and
      `exposure_against_control`; without random neurons there are none
    """
    here, own = losses[language], losses[language].rise(language)
    others = [losses[other].rise(language) for other in losses if other != language]
    spill = [(1 / len(others), other) for other in others]
    exposed_W = median_W([nats_W for region, nats_W in here.without.items() if region != language])
    found = {
        "own": own,
        "spill": combined(spill),
        "selectivity": combined([(1, own), *((-weight, other) for weight, other in spill)]),
        "margin": combined([(1, own), (-1, max(others, key=lambda other: other.value))]),
        "exposure": log_ratio(here.full_W, exposed_W, here.tokens_W),
    }
    if not len(here.control_RW):
        return found
    return found | {
        "control": log_ratio(here.full_W, here.control_RW.mean(axis=0), here.tokens_W),
        "against_control": against_control(here.without[language], here.control_RW, here.tokens_W),
        "exposure_against_control": against_control(exposed_W, here.control_RW, here.tokens_W),
    }


def median_W(nats: list[np.ndarray]) -> np.ndarray:
    """The windows of that cell which is the median of several by all its nats together; of two in the middle their mean."""
    in_order = sorted(nats, key=np.sum)
    return (in_order[(len(nats) - 1) // 2] + in_order[len(nats) // 2]) / 2


def effect_table(losses: dict[str, Losses], level: float | None) -> pd.DataFrame:
    """The content of `effects.csv`: a row per language, each effect with the ends of its interval; p values of some.

    `draws` is how many controls there are, `control_rank_p` how often one of them costs as much as the region. Without a level
    there are neither intervals nor p values.
    """
    by_language = {language: effects(losses, language) for language in losses}
    rows = []
    for language, found in by_language.items():
        row: dict[str, Any] = {"language": language}
        for name, effect in found.items():
            low, high = effect.interval(level) if level else (math.nan, math.nan)
            row |= {name: effect.value, f"{name}_lo": low, f"{name}_hi": high}
        here = losses[language]
        draws = len(here.control_RW)
        row |= {"draws": draws}
        if draws and level:
            row["control_rank_p"] = control_p_value(here.without[language], here.control_RW)
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in [name for name in TESTED if name in table and level]:
        p_values = [found[name].p_value() for found in by_language.values()]
        table[f"{name}_p"], table[f"{name}_p_holm"] = p_values, holm(p_values)
    return table


def cells_against_control(losses: dict[str, Losses], level: float | None) -> pd.DataFrame:
    """How much more each region costs each language than random neurons do: `language`, `deactivated`, `against_control`, and
    with a level the ends of its interval, in nats per token. No row for a language without random neurons.
    """
    names = ["against_control", "against_control_lo", "against_control_hi"]
    rows = []
    for language, here in losses.items():
        for region, nats_W in here.without.items() if len(here.control_RW) else ():
            effect = against_control(nats_W, here.control_RW, here.tokens_W)
            ends = effect.interval(level) if level else (math.nan, math.nan)
            rows.append((language, region, effect.value, *ends))
    return pd.DataFrame(rows, columns=["language", "deactivated", *names])


def mean_effects(losses: dict[str, Losses]) -> dict[str, Effect]:
    """The effects of `MEANS`, each over all languages.

    The windows of a language take part in the effects of several regions: they are put together first, so that what is common
    to them is paired.
    """
    means = {
        name: combined([(1 / len(losses), effects(losses, language)[name]) for language in losses])
        for name in MEANS
        if all(name in effects(losses, language) for language in losses)
    }
    shares = {language: weighted(losses, language, 1.0) for language in losses}
    spills = {language: weighted(losses, language, 0.0) for language in losses}
    means["selectivity"] = combined([(1.0, effect) for effect in shares.values()])
    means["spill"] = combined([(-1.0, effect) for effect in spills.values()])
    return means


def dose_table(windows: pd.DataFrame, full: str, random: str, level: float | None) -> pd.DataFrame:
    """The content of `doses.csv`: a row per dose, each effect of `MEANS` and `control` over all languages, with its interval.

    `windows`, `full` and `random` are as in `losses_by_language`. Without a level there are no intervals.
    """
    rows = []
    for dose in sorted(windows.loc[windows["deactivated"] != full, "dose"].unique()):
        losses = losses_by_language(windows, full, random, dose)
        found = mean_effects(losses)
        if "against_control" in found:
            found["control"] = combined([(1 / len(losses), effects(losses, language)["control"]) for language in losses])
        row = {"dose": dose}
        for name, effect in found.items():
            low, high = effect.interval(level) if level else (math.nan, math.nan)
            row |= {name: effect.value, f"{name}_lo": low, f"{name}_hi": high}
        rows.append(row)
    return pd.DataFrame(rows)


def weighted(losses: dict[str, Losses], language: str, own: float) -> Effect:
    """What the windows of a language add to the mean selectivity, or without its `own` part to the mean spill, negative."""
    here, languages = losses[language], len(losses)
    rise_W = sum(
        (own if region == language else -1 / (languages - 1)) * (nats_W - here.full_W)
        for region, nats_W in here.without.items()
    )
    return log_ratio(np.zeros_like(here.full_W), rise_W / languages, here.tokens_W)


def assignment_p(losses: dict[str, Losses], seed: int) -> float:
    """How often regions that are shuffled over languages cost their languages as much in all as they do."""
    matrix = np.array([[losses[text].rise(region).value for region in losses] for text in losses])
    return assignment_p_value(matrix, PERMUTATIONS, seed)
