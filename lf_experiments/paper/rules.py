"""How a claim about one run is decided: each rule asks the tables of the run.

Shapes are written as suffixes: M meanings, G languages. The rules about similarity take their intervals over meanings, those
about perplexity over windows of text (`effects.csv`), those about layers over meanings too (`influence.parquet`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd

from lf_experiments.intervals import Effect, jackknife
from lf_experiments.languages import language_name
from lf_experiments.paper.finding import (
    NO_INTERVAL,
    Answer,
    Finding,
    counted,
    effect_text,
    missing,
    side,
    sides,
    signed,
    together,
)
from lf_experiments.runs.derived import key_neurons_by_layer, region_sizes
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.paired import contrast_of_layers, level_of
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import LRDS, SADS

RELATED = ("fr", "es", "pt")
"""The languages whose likeness sec. 4.2 names."""
DISTANT = ("vi", "ar", "zh")
"""The languages whose regions sec. 4.5 finds larger."""

NO_WINDOWS = "no interval: this run kept no losses by window of text"
NO_RANDOM = "no random neurons were switched off"

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(same_GG, different_GG), or many of them, (..., G, G) -> (...): a number that is made of mean similarities."""


# Similarity -------------------------------------------------------------------------------------------------------------


def over_meanings(run: Run, statistic: Statistic) -> Effect:
    """A number made of the mean similarities of languages, with its error over meanings, where there are enough."""
    same_GG, different_GG = (table.to_numpy() for table in run.language_similarities)
    value = float(statistic(same_GG, different_GG))
    without = run.without_each_meaning
    return Effect(value, math.nan, 0) if without is None else jackknife(value, statistic(*without))


def same_language(run: Run) -> Finding:
    """In every language, the mean similarity of its sentences to each other exceeds that to sentences of other languages.

    Over pairs of different meanings, as in eq. (8); the mean of the differences is LRDS. Languages are judged together.
    """
    codes = list(run.language_similarities[1].index)

    def margin_of(place: int) -> Statistic:
        others = [other for other in range(len(codes)) if other != place]
        return lambda _, different: different[..., place, place] - different[..., place, others].mean(axis=-1)

    margins = {language_name(code): over_meanings(run, margin_of(place)) for place, code in enumerate(codes)}
    return everywhere(margins, "languages", level_of(run))


def everywhere(margins: dict[str, Effect], what: str, level: float) -> Finding:
    """Whether all margins are above 0, judged together; the figures tell the least."""
    answers = sides(list(margins.values()), level)
    least = min(margins, key=lambda name: margins[name].value)
    figures = f"{counted(answers, what)}; least {effect_text(margins[least], level, signed)}, {least}"
    return Finding(together(answers), figures)


def same_meaning(run: Run) -> Finding:
    """On average and in most pairs of languages, the similarity of translations exceeds that of other sentences.

    Over pairs of different languages, as in eq. (9); the mean of the differences is SADS. Pairs are judged together.
    """
    codes, level = list(run.language_similarities[1].index), level_of(run)
    places = list(combinations(range(len(codes)), 2))

    def margin_of(one: int, other: int) -> Statistic:
        return lambda same, different: same[..., one, other] - (different[..., one, other] + different[..., other, one]) / 2

    margins = {
        f"{language_name(codes[one])} and {language_name(codes[other])}": over_meanings(run, margin_of(one, other))
        for one, other in places
    }
    mean = over_meanings(run, lambda *tables: np.mean([margin_of(*pair)(*tables) for pair in places], axis=0))
    answers, of_mean = sides(list(margins.values()), level), side(mean, level)
    most = majority(answers)
    found = everywhere(margins, "pairs of languages", level)
    return Finding(together([of_mean, most]), f"mean {effect_text(mean, level, signed)}; {found.figures}")


def majority(answers: list[Answer]) -> Answer:
    """The answer that more than half of several claims have; undecided where none has."""
    return next(
        (answer for answer in (Answer.HOLDS, Answer.FAILS) if 2 * answers.count(answer) > len(answers)), Answer.UNDECIDED
    )


def related_languages(run: Run) -> Finding | None:
    """The mean similarity over the pairs of French, Spanish and Portuguese exceeds that over all other pairs of languages.

    None where the run lacks one of them, or has no other language.
    """
    codes = list(run.language_similarities[1].index)
    if not set(RELATED) < set(codes):
        return None
    pairs = list(combinations(range(len(codes)), 2))
    related = [{codes[one], codes[other]} <= set(RELATED) for one, other in pairs]

    def means(different: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack([(different[..., one, other] + different[..., other, one]) / 2 for one, other in pairs], axis=-1)
        return values[..., related].mean(axis=-1), values[..., ~np.array(related)].mean(axis=-1)

    margin = over_meanings(run, lambda _, different: np.subtract(*means(different)))
    ours, others = means(run.language_similarities[1].to_numpy())
    figures = f"{ours:.4f} against {others:.4f}; difference {effect_text(margin, level_of(run), signed)}"
    return Finding(side(margin, level_of(run)), figures)


# Layers -----------------------------------------------------------------------------------------------------------------


def outer_layers(run: Run) -> Finding:
    """LRDS is higher and SADS lower in the first and in the last layers than in those between, on average."""
    lrds, sads = (ends_and_middle(run.layers[score.key]) for score in (LRDS, SADS))
    figures = f"{depth_text(LRDS.title, lrds, LRDS.text)}; {depth_text(SADS.title, sads, SADS.text)}"
    if math.isnan(lrds[1]):
        return missing(figures)
    layers, level = len(run.layers), level_of(run)
    found = [
        contrast_of_layers(run, score, sign * (of_end - between(layers)))
        for score, sign in ((LRDS, 1), (SADS, -1))
        for of_end in (first(layers), last(layers))
    ]
    if None in found:
        return Finding(Answer.UNDECIDED, f"{figures}; {NO_INTERVAL}")
    return Finding(together(sides(found, level)), figures)


def outer_key_neurons(run: Run) -> Finding:
    """The first and the last layers have more key neurons than those between, on average.

    So by their number, by what shuffled languages leave of it, and by those that halves of the sentences find again.
    """
    counts = ends_and_middle(key_neurons_by_layer(run.regions))
    figures = depth_text("key neurons per layer", counts, "{:,.1f}".format)
    if math.isnan(counts[1]):
        return missing(figures)
    return agreed(run.regions, lambda table: at_both_ends(ends_and_middle(table.groupby("layer")["size"].sum())), figures)


def agreed(regions: pd.DataFrame, claim: Callable[[pd.DataFrame], bool], figures: str) -> Finding:
    """The answer to a claim about the sizes of regions, which have no interval: decided where three counts agree.

    Key neurons, those beyond what shuffled languages give, and those that halves find again; `claim` is asked of `regions.csv`
    with each of them as the column `size`. Without shuffles and halves it is undecided.
    """
    columns = [name for name in ("key_neurons", "excess", "replicated") if name in regions and regions[name].notna().all()]
    if len(columns) < 3:
        return Finding(Answer.UNDECIDED, f"{figures}; neither shuffled languages nor halves were tried")
    answers = {claim(regions.assign(size=regions[name].astype(float))) for name in columns}
    if len(answers) > 1:
        return Finding(Answer.UNDECIDED, f"{figures}; their number, their excess and those found again disagree")
    return Finding(Answer.HOLDS if answers.pop() else Answer.FAILS, figures)


def ends_and_middle(of_layers: pd.Series) -> tuple[float, float, float]:
    """Means over the first few layers, those between, and the last few: a tenth of the layers at each end, at least one."""
    few = first_few(len(of_layers))
    return of_layers[:few].mean(), of_layers[few:-few].mean(), of_layers[-few:].mean()


def first(layers: int) -> np.ndarray:
    """The weights of the layers in the mean over the first few."""
    return (np.arange(layers) < first_few(layers)) / first_few(layers)


def last(layers: int) -> np.ndarray:
    """The weights of the layers in the mean over the last few."""
    return first(layers)[::-1]


def between(layers: int) -> np.ndarray:
    """The weights of the layers in the mean over those between; there is one at least."""
    inner = (first(layers) == 0) & (last(layers) == 0)
    return inner / inner.sum()


def first_few(layers: int) -> int:
    """How many layers the paper's `first few` are taken to be."""
    return max(1, layers // 10)


def at_both_ends(means: tuple[float, float, float]) -> bool:
    """Whether both ends are above the layers between."""
    first, middle, last = means
    return bool(first > middle and last > middle)


def depth_text(name: str, means: tuple[float, float, float], text: Callable[[float], str]) -> str:
    """The three means in words."""
    first, middle, last = map(text, means)
    return f"{name}: first {first}, between {middle}, last {last}"


def distant_languages(run: Run) -> Finding | None:
    """The key regions of Vietnamese, Arabic and Chinese are larger on average than those of the other languages.

    None where the run lacks one of them, or has no other language.
    """
    sizes = region_sizes(run.regions)["key_neurons"]
    if not set(DISTANT) < set(sizes.index):
        return None

    def are_larger(table: pd.DataFrame) -> bool:
        size = table.groupby("language")["size"].sum()
        return bool(size[list(DISTANT)].mean() > size.drop(list(DISTANT)).mean())

    ours, others = sizes[list(DISTANT)].mean(), sizes.drop(list(DISTANT)).mean()
    return agreed(run.regions, are_larger, f"{ours:,.0f} key neurons against {others:,.0f} key neurons")


# Perplexity -------------------------------------------------------------------------------------------------------------


def own_language_loses_most(run: Run) -> Finding:
    """Without a key region its own language loses more than the other language that loses most; every region."""
    return by_region(run, "margin")


def own_more_than_others(run: Run) -> Finding:
    """Without a key region its own language loses more than the others on average; every region."""
    return by_region(run, "selectivity")


def own_more_than_random(run: Run) -> Finding:
    """On average over languages, a language loses more without its own region than without random neurons."""
    return on_average(run, "against_control", 1)


def others_less_than_random(run: Run) -> Finding:
    """The same, but less without the region of another language, the one in the middle of the others."""
    return on_average(run, "exposure_against_control", -1)


def every_region_more_than_random(run: Run) -> Finding:
    """A language loses more without its own region than without random neurons; every region."""
    return by_region(run, "against_control")


def on_average(run: Run, key: str, sign: int) -> Finding:
    """Whether a mean effect of `metrics.json` is above 0, or below for a negative sign, by its interval."""
    if run.effects is None:
        return Finding(Answer.UNDECIDED, NO_WINDOWS)
    value, interval = run.metrics[key], run.metrics.interval(key)
    if value is None:
        return missing(NO_RANDOM)
    if interval is None:
        return Finding(Answer.UNDECIDED, f"{value:+.4f} nats per token; {NO_INTERVAL}")
    low, high = sorted(sign * end for end in interval)
    answer = Answer.HOLDS if low > 0 else Answer.FAILS if high < 0 else Answer.UNDECIDED
    return Finding(answer, f"{value:+.4f} ({interval[0]:+.4f}, {interval[1]:+.4f}) nats per token")


def by_region(run: Run, name: str) -> Finding:
    """Whether an effect of `effects.csv` is above 0 in every language, judged together by the p values that Holm adjusts."""
    table, level = run.effects, level_of(run)
    if table is None:
        return Finding(Answer.UNDECIDED, NO_WINDOWS)
    if name not in table:
        return missing(NO_RANDOM)
    rows = table.set_index("language")
    p_values = rows[f"{name}_p_holm"] if f"{name}_p_holm" in rows else pd.Series(math.nan, rows.index)
    answers = [decided(value, p, level) for value, p in zip(rows[name], p_values, strict=True)]
    least = rows[name].idxmin()
    ends = rows.loc[least, [f"{name}{LOW}", f"{name}{HIGH}"]]
    interval = "" if ends.isna().any() else f" ({ends.iloc[0]:+.4f}, {ends.iloc[1]:+.4f})"
    figures = f"{counted(answers, 'regions')}; least {rows[name].min():+.4f}{interval} nats per token, {language_name(least)}"
    return Finding(together(answers), figures)


def decided(value: float, p: float, level: float) -> Answer:
    """The answer to the claim that a value is above 0, with the p value of 0."""
    if math.isnan(p) or p > 1 - level:
        return Answer.UNDECIDED
    return Answer.HOLDS if value > 0 else Answer.FAILS
