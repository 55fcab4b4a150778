"""Two runs side by side: how their scores, layers, regions and losses differ, paired wherever both read the same."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from lf_experiments.intervals import Effect, of_influences, ratio_of_sums
from lf_experiments.runs.derived import NOTHING, RANDOM, is_at_full_dose
from lf_experiments.runs.paired import change, influences, level_of
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES, Score


def score_changes(one: Run, other: Run) -> pd.DataFrame:
    """Every score that both runs came to: `score`, `first`, `second`, `difference`, `lo`, `hi`.

    The interval of a difference is paired where both read the same sentences, or stories; NaN where a score has none.
    """
    rows = []
    for score in SCORES:
        first, second = (run.metrics.value(score) for run in (one, other))
        if first is not None and second is not None:
            effect = change(one, other, score) or Effect(second - first, math.nan, 0)
            rows.append({"score": score.key, "first": first, "second": second, **difference(effect, level_of(one))})
    return pd.DataFrame(rows, columns=["score", "first", "second", "difference", "lo", "hi"])


def layer_changes(one: Run, other: Run) -> pd.DataFrame | None:
    """The scores of every layer: `layer`, and per score `<key>_first`, `<key>_second`, `<key>`, `<key>_lo`, `<key>_hi`.

    None where a run has no layers, or where they are not as many: layers of different models do not correspond.
    """
    if one.layers is None or other.layers is None or len(one.layers) != len(other.layers):
        return None
    table = pd.DataFrame({"layer": one.layers["layer"]})
    for score in (score for score in SCORES if score.by_layer and score.key in one.layers and score.key in other.layers):
        effects = [layer_change(one, other, score, layer) for layer in table["layer"]]
        ends = [effect.interval(level_of(one)) for effect in effects]
        table = table.assign(
            **{
                f"{score.key}_first": one.layers[score.key],
                f"{score.key}_second": other.layers[score.key],
                score.key: [effect.value for effect in effects],
                f"{score.key}_lo": [low for low, _ in ends],
                f"{score.key}_hi": [high for _, high in ends],
            }
        )
    return table


def layer_change(one: Run, other: Run, score: Score, layer: int) -> Effect:
    """How much a score of a layer differs, paired where both runs kept the influences of the same meanings."""
    first, second = (run.layers.set_index("layer").loc[layer, score.key] for run in (one, other))
    found = [influences(run, score, layer) for run in (one, other)]
    if any(of_run is None for of_run in found) or set(found[0].index) != set(found[1].index):
        return Effect(second - first, math.nan, 0)
    return of_influences(second - first, (found[1].reindex(found[0].index) - found[0]).to_numpy(float))


def shared_neurons(one: Run, other: Run) -> pd.DataFrame | None:
    """What the regions of each language have in common: `language`, `first`, `second`, `shared`, `jaccard`, `by_chance`.

    `by_chance` is the number of neurons that two random regions of these sizes share. None where the models do not have the
    same layers and neurons, for then their neurons do not correspond.
    """
    if one.key_neurons is None or other.key_neurons is None or not have_the_same_neurons(one, other):
        return None
    place = [name for name in ("layer", "expert", "neuron") if name in one.key_neurons and name in other.key_neurons]
    rows = []
    for language in one.metrics.languages:
        if language in other.metrics.languages:
            first, second = (set(map(tuple, of_language(run, language)[place].to_numpy().tolist())) for run in (one, other))
            shared, union = len(first & second), len(first | second)
            chance = len(first) * len(second) / one.metrics.num_neurons
            rows.append((language, len(first), len(second), shared, shared / union if union else math.nan, chance))
    return pd.DataFrame(rows, columns=["language", "first", "second", "shared", "jaccard", "by_chance"])


def have_the_same_neurons(one: Run, other: Run) -> bool:
    """Whether neurons of the two models correspond by their layer and number."""
    sizes = [(run.metrics.num_layers, run.metrics.num_neurons) for run in (one, other)]
    return sizes[0] == sizes[1] and None not in sizes[0]


def of_language(run: Run, language: str) -> pd.DataFrame:
    """The key neurons of a language."""
    return run.key_neurons[run.key_neurons["language"] == language]


def loss_changes(one: Run, other: Run) -> pd.DataFrame | None:
    """What every region costs every language: `deactivated`, `language`, `first`, `second`, `difference`, `lo`, `hi`.

    In nats per token, at the full dose. Differences are paired over windows where both runs read the same windows of text, else
    they have no interval. None where a run switched nothing off.
    """
    if one.perplexity is None or other.perplexity is None:
        return None
    losses = [log_ratios(run.perplexity) for run in (one, other)]
    rises = [window_rises(run) for run in (one, other)]
    rows = [
        {"deactivated": cell[0], "language": cell[1], "first": first, "second": second}
        | difference(cell_change(rises, cell, second - first), level_of(one))
        for cell, first, second in pairs_of(*losses)
    ]
    return pd.DataFrame(rows, columns=["deactivated", "language", "first", "second", "difference", "lo", "hi"])


def log_ratios(perplexity: pd.DataFrame) -> pd.Series:
    """The rise of the logarithm of perplexity by region and language, at the full dose."""
    rows = perplexity[is_at_full_dose(perplexity) & (perplexity["deactivated"] != RANDOM)]
    nll = np.log(rows.set_index(["deactivated", "language"])["perplexity"])
    full = nll.loc[NOTHING]
    regions = nll.drop(NOTHING, level="deactivated")
    return regions - full.reindex(regions.index.get_level_values("language")).to_numpy()


def pairs_of(first: pd.Series, second: pd.Series) -> Iterator[tuple[tuple[str, str], float, float]]:
    """The entries that both have, in the order of the first."""
    for place in first.index[first.index.isin(second.index)]:
        yield place, float(first[place]), float(second[place])


def window_rises(run: Run) -> dict[tuple[str, str], pd.DataFrame]:
    """{(region, language): `rise` in nats, `tokens` and `bytes` of every window}, at the full dose; empty without any."""
    if run.perplexity_windows is None:
        return {}
    kept = run.perplexity_windows
    rows = kept[is_at_full_dose(kept) & (kept["deactivated"] != RANDOM)]
    full = rows[rows["deactivated"] == NOTHING][["language", "window", "nll"]]
    regions = rows[rows["deactivated"] != NOTHING].merge(full, on=["language", "window"], suffixes=("", "_full"))
    regions = regions.assign(rise=regions["nll"] - regions["nll_full"]).sort_values("window")
    found = regions.set_index("window").groupby(["deactivated", "language"])[["rise", "tokens", "bytes"]]
    return dict(list(found))


def cell_change(rises: list[dict[tuple[str, str], pd.DataFrame]], cell: tuple[str, str], value: float) -> Effect:
    """The difference of two losses, window by window; without an error where the windows are not the same."""
    first, second = (of_run.get(cell) for of_run in rises)
    if first is None or second is None or not first[["tokens", "bytes"]].equals(second[["tokens", "bytes"]]):
        return Effect(value, math.nan, 0)
    return ratio_of_sums((second["rise"] - first["rise"]).to_numpy(float), first["tokens"].to_numpy(float))


def difference(effect: Effect, level: float) -> dict[str, float]:
    """An effect in the columns of a table."""
    low, high = effect.interval(level)
    return {"difference": effect.value, "lo": low, "hi": high}
