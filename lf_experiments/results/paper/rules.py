"""How a claim of the paper is decided: each rule asks the files of a run, or a line of runs over training or scale.

Shapes are written as suffixes: S samples (sentences), G languages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from operator import gt, lt
from pathlib import Path

import numpy as np
import pandas as pd

from lf_experiments.languages import language_name
from lf_experiments.results.figures.evolution import probed
from lf_experiments.results.figures.table1_deactivation import RANDOM, increases
from lf_experiments.results.tables import (
    count_text,
    increase_text,
    key_neurons_by_layer,
    read_table,
    region_sizes,
    score_text,
    share_text,
)

LEAST_POINTS = 3
"""Two points are no trend."""
RELATED = ("fr", "es", "pt")
"""The languages whose likeness sec. 4.2 names."""
DISTANT = ("vi", "ar", "zh")
"""The languages whose regions sec. 4.5 finds larger."""
PLACES: dict[str, Callable[[float], str]] = {
    "training_step": "step {:,.0f}".format,
    "num_parameters": lambda parameters: f"{count_text(parameters)} parameters",
}
"""How a figure names a point of an axis."""


@dataclass(frozen=True)
class Finding:
    """What a run, or a line of runs, says to a claim."""

    holds: bool | None
    """None where it was not measured."""
    figures: str
    """The numbers it rests on, or what is missing."""


# The files of one run ---------------------------------------------------------------------------------------------------


def same_language(folder: Path) -> Finding:
    """In every language, the mean similarity of its sentences to each other exceeds that to sentences of other languages.

    Over pairs of different meanings, as in eq. (8); the mean of the differences is LRDS.
    """
    _, different_GG = mean_similarities(folder)
    within_G = pd.Series(np.diag(different_GG), different_GG.index)
    across_G = (different_GG.sum(axis=1) - within_G) / (len(within_G) - 1)
    return everywhere((within_G - across_G).rename(language_name), "languages", "{:+.4f}")


def same_meaning(folder: Path) -> Finding:
    """On average and in most pairs of languages, the similarity of translations exceeds that of other sentences.

    Over pairs of different languages, as in eq. (9); the mean of the differences is SADS.
    """
    same_GG, different_GG = mean_similarities(folder)
    margins = {
        f"{language_name(one)} and {language_name(other)}": same_GG.loc[one, other] - different_GG.loc[one, other]
        for one, other in combinations(same_GG.index, 2)
    }
    margin = pd.Series(margins)
    found = everywhere(margin, "pairs of languages", "{:+.4f}")
    return Finding(bool(margin.mean() > 0 and (margin > 0).mean() > 0.5), f"mean {margin.mean():+.4f}; {found.figures}")


def related_languages(folder: Path) -> Finding | None:
    """The mean similarity over the pairs of French, Spanish and Portuguese exceeds that over all other pairs of languages.

    None where the run lacks one of them, or has no other language.
    """
    _, different_GG = mean_similarities(folder)
    if not set(RELATED) < set(different_GG.index):
        return None
    pairs = {frozenset(pair): different_GG.loc[pair] for pair in combinations(different_GG.index, 2)}
    related = [similarity for pair, similarity in pairs.items() if pair <= set(RELATED)]
    others = [similarity for pair, similarity in pairs.items() if not pair <= set(RELATED)]
    return compared(np.mean(related), gt, np.mean(others), score_text)


def mean_similarities(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mean similarity between languages over pairs of the same meaning, and over pairs of different ones, (G, G) each."""
    samples = read_table(folder / "samples.csv")
    similarity_SS = np.load(folder / "similarity.npy").astype(float)
    language_S, languages = samples["language"].factorize()
    meaning_S, _ = samples["meaning"].factorize()
    in_GS = (language_S == np.arange(len(languages))[:, None]).astype(float)
    same_SS = (meaning_S[:, None] == meaning_S).astype(float)
    means = [in_GS @ (similarity_SS * of_SS) @ in_GS.T / (in_GS @ of_SS @ in_GS.T) for of_SS in (same_SS, 1 - same_SS)]
    same_GG, different_GG = (pd.DataFrame(mean_GG, languages, languages) for mean_GG in means)
    return same_GG, different_GG


def outer_layers(folder: Path) -> Finding:
    """LRDS is higher and SADS lower in the first and in the last layers than in those between, on average."""
    layers = read_table(folder / "layers.csv")
    lrds, sads = ends_and_middle(layers["lrds"]), ends_and_middle(layers["sads"])
    figures = f"{depth_text('LRDS', lrds, score_text)}; {depth_text('SADS', sads, score_text)}"
    return Finding(at_both_ends(lrds, gt) and at_both_ends(sads, lt), figures)


def outer_key_neurons(folder: Path) -> Finding:
    """The first and the last layers have more key neurons than those between, on average."""
    counts = ends_and_middle(key_neurons_by_layer(folder))
    return Finding(at_both_ends(counts, gt), depth_text("key neurons per layer", counts, "{:,.1f}".format))


def ends_and_middle(of_layers: pd.Series) -> tuple[float, float, float]:
    """Means over the first few layers, those between, and the last few: a tenth of the layers at each end, at least one."""
    few = first_few(len(of_layers))
    return of_layers[:few].mean(), of_layers[few:-few].mean(), of_layers[-few:].mean()


def first_few(layers: int) -> int:
    """How many layers the paper's `first few` are taken to be."""
    return max(1, layers // 10)


def at_both_ends(means: tuple[float, float, float], relation: Callable[[float, float], bool]) -> bool | None:
    """Whether both ends compare like that with the layers between; None where there are none between."""
    first, middle, last = means
    return None if math.isnan(middle) else bool(relation(first, middle) and relation(last, middle))


def depth_text(name: str, means: tuple[float, float, float], text: Callable[[float], str]) -> str:
    first, middle, last = map(text, means)
    return f"{name}: first {first}, between {middle}, last {last}"


def distant_languages(folder: Path) -> Finding | None:
    """The key regions of Vietnamese, Arabic and Chinese are larger on average than those of the other languages.

    None where the run lacks one of them, or has no other language.
    """
    sizes = region_sizes(read_table(folder / "regions.csv"))["key_neurons"]
    if not set(DISTANT) < set(sizes.index):
        return None
    return compared(sizes[list(DISTANT)].mean(), gt, sizes.drop(list(DISTANT)).mean(), "{:,.0f} key neurons".format)


def own_language_loses_most(folder: Path) -> Finding:
    """Without a key region, the perplexity of its own language rises by more percent than that of any other; every region."""
    rise_GG, own_GG, _ = perplexity_rises(folder)
    most_of_others_G = rise_GG.mask(own_GG, -math.inf).max(skipna=False)
    return everywhere((np.diag(rise_GG) - most_of_others_G).rename(language_name), "regions", "{:+.1f} points")


def own_more_than_random(folder: Path) -> Finding:
    """The median rise of a language without its own region exceeds that without random neurons."""
    rise_GG, own_GG, random = perplexity_rises(folder)
    return compared(np.median(rise_GG.to_numpy()[own_GG]), gt, random, rise_text)


def others_less_than_random(folder: Path) -> Finding:
    """The median rise of a language without the region of another is below that without random neurons."""
    rise_GG, own_GG, random = perplexity_rises(folder)
    return compared(np.median(rise_GG.to_numpy()[~own_GG]), lt, random, rise_text)


def perplexity_rises(folder: Path) -> tuple[pd.DataFrame, np.ndarray, float]:
    """The rises of perplexity in percent, which of them are of a language without its own region, and a typical random one.

    The first two are (G, G), evaluated by deactivated language; the last is the median over languages of the rise without
    random neurons, NaN where none were switched off.
    """
    table = increases(read_table(folder / "perplexity.csv"))
    random = np.median(table[RANDOM]) if RANDOM in table else math.nan
    return table[table.index], np.eye(len(table), dtype=bool), random


def rise_text(percent: float) -> str:
    return "–" if math.isnan(percent) else f"{increase_text(percent)}%"


# A line of runs ---------------------------------------------------------------------------------------------------------


def trend(line: pd.DataFrame, x: str, column: str, rises: bool, from_turn: bool = False) -> Finding:
    """Whether a column rises, or falls, along `x`: the last point lies beyond the first, and ranks correlate (Spearman).

    `line` is in the order of `x`. Points that share their weights with another, and those that were not measured, are left
    out. With `from_turn` only what comes after the lowest point, or after the highest for one that falls, is judged, and that
    point must lie in the first half. The figures are the first point, the one to rise or fall from, and the last.
    """
    points = line[line[column].notna() & ~line["duplicated"]]
    if points[x].nunique() < LEAST_POINTS:
        return Finding(None, f"measured at {points[x].nunique()} points, {LEAST_POINTS} are needed")
    place, value = points[x].to_numpy(float), points[column].to_numpy(float)
    text = score_text if column in ("lrds", "sads") else share_text
    turn = int(value.argmin() if rises else value.argmax())
    course = ", ".join(f"{text(value[point])} at {PLACES[x](place[point])}" for point in sorted({0, turn, len(value) - 1}))
    first = turn if from_turn and turn <= (len(value) - 1) / 2 else 0
    correlation, change = rank_correlation(place[first:], value[first:]), value[-1] - value[first]
    holds = min(change, correlation) > 0 if rises else max(change, correlation) < 0
    return Finding(bool(holds), f"{course}; rank correlation {correlation:+.2f} over {len(value) - first} points")


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where a side does not vary."""
    ranks = pd.DataFrame({"one": one, "other": other}).rank()
    return 0.0 if (ranks.nunique() == 1).any() else float(ranks["one"].corr(ranks["other"]))


def first_layers_share(line: pd.DataFrame) -> Finding:
    """Whether the share of the key neurons that lie in the first layers rises over the training steps."""
    runs = probed(line)
    by_layer = [key_neurons_by_layer(folder) for folder in runs.index]
    shares = [(counts / counts.sum())[: first_few(len(counts))].sum(skipna=False) for counts in by_layer]
    return trend(runs.assign(first_layers=shares), "training_step", "first_layers", rises=True)


# Comparisons ------------------------------------------------------------------------------------------------------------


def everywhere(margins: pd.Series, what: str, form: str) -> Finding:
    """Whether all margins are positive."""
    if margins.isna().any():
        return Finding(None, f"of {len(margins)} {what}, {margins.isna().sum()} have no number")
    least = form.format(margins.min())
    return Finding(
        bool((margins > 0).all()), f"{(margins > 0).sum()} of {len(margins)} {what}; least {least}, {margins.idxmin()}"
    )


def compared(one: float, relation: Callable[[float, float], bool], other: float, text: Callable[[float], str]) -> Finding:
    """Whether one number is larger, or smaller, than another; NaN where one was not measured."""
    holds = None if math.isnan(one) or math.isnan(other) else bool(relation(one, other))
    return Finding(holds, f"{text(one)} against {text(other)}")
