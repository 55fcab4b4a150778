"""Methods compared: runs of a sweep that differ in their probe alone, what their regions cost, and how far they agree."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from lf_experiments.intervals import Effect, combined, ratio_of_sums
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.paired import level_of
from lf_experiments.runs.run import Run
from lf_experiments.runs.side_by_side import shared_neurons, window_rises
from lf_experiments.runs.variants import variant_texts

REFERENCE = "zscore"
"""The paper's method, with which the others are compared."""
OF_METHOD = ("name", "threshold", "weight", "path")
"""Keys of `probe` that are a method's own; the others are the terms on which methods are compared."""
EFFECTS = ("own_effect", "spill_over", "selectivity", "against_control")
"""What a region costs: keys of metrics.json, each with its interval."""
GAIN = "selectivity_gain"
"""Selectivity less that of the reference, paired over windows of text."""


@dataclass(frozen=True)
class Compared:
    """Runs of one model at one moment that differ in their method alone."""

    model: str
    checkpoint: str
    training_step: int | None
    terms: str
    """How they differ from other comparisons of the sweep, beside the model and the moment; mostly empty."""
    runs: dict[str, Run]
    """{method: its run}, the reference first."""

    @property
    def name(self) -> str:
        """Which line over training it is a point of."""
        return f"{self.model}, {self.terms}" if self.terms else self.model

    @property
    def title(self) -> str:
        """The model, the terms and the moment of its training."""
        moment = f"checkpoint {self.checkpoint}" if self.training_step is None else f"training step {self.training_step:,}"
        return f"{self.name}, {moment}"

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """How far two methods agree, a row per pair: `method`, `other`, `jaccard`, `rank_correlation`, means over languages.

        The share of neurons of either region that are in both, and Spearman's correlation over all neurons of the model of what
        they are selected by; NaN where a run kept no scores of neurons.
        """
        ranks = {method: ranks_of(run) for method, run in self.runs.items()}
        rows = []
        for method, other in combinations(self.runs, 2):
            shared = shared_neurons(self.runs[method], self.runs[other])
            jaccard = math.nan if shared is None else float(shared["jaccard"].mean())
            rows.append((method, other, jaccard, rank_correlation(ranks[method], ranks[other])))
        return pd.DataFrame(rows, columns=["method", "other", "jaccard", "rank_correlation"])

    def square(self, column: str = "jaccard") -> pd.DataFrame:
        """A column of `agreement` as a symmetric table, methods by methods; every method agrees with itself."""
        methods = list(self.runs)
        table = pd.DataFrame(np.eye(len(methods)), methods, methods)
        for row in self.agreement.to_dict("records"):
            table.loc[row["method"], row["other"]] = table.loc[row["other"], row["method"]] = row[column]
        return table

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows of `methods.csv`, a method each; see `methods_table`."""
        reference = self.runs.get(REFERENCE)
        return pd.DataFrame([self.row(method, run, reference) for method, run in self.runs.items()])

    def row(self, method: str, run: Run, reference: Run | None) -> dict[str, Any]:
        """What is said of one method."""
        agreement = {
            f"{name}_{REFERENCE}": self.square(name).loc[REFERENCE, method] if reference else math.nan
            for name in ("jaccard", "rank_correlation")
        }
        halves = run.stability if run.stability is not None and len(run.stability) else None
        return {
            **{name: getattr(self, name) for name in ("model", "checkpoint", "training_step", "terms")},
            "method": method,
            "budget": run.record["config"]["probe"].get("budget", "threshold"),
            "neurons_per_language": run.regions.groupby("language")["key_neurons"].sum().mean(),
            **effects_of(run),
            **gain_over(reference, run),
            "dice": math.nan if halves is None else halves["dice"].mean(),
            "stability": math.nan if halves is None else halves["stability"].mean(),
            **agreement,
            "seconds": run.record["stages"].get("probe", {}).get("seconds", math.nan),
        }


def comparisons(table: pd.DataFrame) -> list[Compared]:
    """The comparisons that the finished runs of a sweep table allow, in its order; each has two methods at least."""
    done = [(run, row) for run, row in table.iterrows() if row["status"] == "done" and method_of(run)]
    terms = variant_texts([without_method(run.record["config"]) for run, _ in done])
    groups: dict[tuple[str, str, int | None, str], dict[str, Run]] = {}
    for (run, row), of_run in zip(done, terms, strict=True):
        step = None if pd.isna(row["training_step"]) else int(row["training_step"])
        runs = groups.setdefault((row["model"], row["checkpoint"], step, of_run), {})
        runs[label(run, taken=runs)] = run
    return [
        Compared(*key, dict(sorted(runs.items(), key=lambda item: item[0] != REFERENCE)))
        for key, runs in groups.items()
        if len(runs) > 1
    ]


def method_of(run: Run) -> str | None:
    """The method that found the regions of a run; None where it found none, or does not say."""
    return run.record["config"].get("probe", {}).get("name") if run.regions is not None else None


def without_method(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what is its method's own."""
    config = deepcopy(config)
    for key in OF_METHOD:
        config.get("probe", {}).pop(key, None)
    return config


def label(run: Run, taken: dict[str, Run]) -> str:
    """The name of the method of a run, with its threshold where another run has the name."""
    method = str(method_of(run))
    return method if method not in taken else f"{method} at {run.record['config']['probe'].get('threshold')}"


def methods_table(compared: list[Compared]) -> pd.DataFrame:
    """The content of `methods.csv`: a row per model, moment and method.

    Columns: `model`, `checkpoint`, `training_step`, `terms`, `method`, `budget`, `neurons_per_language`; in nats per token,
    each with `_lo` and `_hi`, `own_effect`, `spill_over`, `selectivity`, `against_control`, and `selectivity_gain`, the
    selectivity less that of `zscore` on the same windows; `dice` and `stability` of the regions of halves; `jaccard_zscore`
    and `rank_correlation_zscore`; `seconds` of the stage probe, its halves included.
    """
    return pd.concat([found.table for found in compared], ignore_index=True).astype({"training_step": "Int64"})


def agreement_table(compared: list[Compared]) -> pd.DataFrame:
    """The content of `method_agreement.csv`: a row per model, moment and pair of methods."""
    place = ["model", "checkpoint", "training_step", "terms"]
    tables = [found.agreement.assign(**{name: getattr(found, name) for name in place}) for found in compared]
    table = pd.concat(tables, ignore_index=True).astype({"training_step": "Int64"})
    return table[[*place, *(name for name in table if name not in place)]]


# What a run says ------------------------------------------------------------------------------------------------------


def effects_of(run: Run) -> dict[str, float]:
    """What the regions of a run cost, with intervals; NaN for what was not measured."""
    found: dict[str, float] = {}
    for key in EFFECTS:
        value, interval = run.metrics[key], run.metrics.interval(key)
        low, high = interval or (math.nan, math.nan)
        found |= {key: math.nan if value is None else value, key + LOW: low, key + HIGH: high}
    return found


def gain_over(reference: Run | None, run: Run) -> dict[str, float]:
    """How much more selective the regions of a run are than those of the reference, with its interval over windows."""
    effect = Effect(math.nan, math.nan, 0) if reference is None else selectivity_gain(reference, run)
    low, high = effect.interval(level_of(run))
    return {GAIN: effect.value, GAIN + LOW: low, GAIN + HIGH: high}


def selectivity_gain(reference: Run, run: Run) -> Effect:
    """The selectivity of a run less that of another, paired; NaN where they did not read the same windows."""
    first, second = parts_of_selectivity(reference), parts_of_selectivity(run)
    parts = []
    for language, part in second.items():
        other = first.get(language)
        if other is None or not part["tokens"].equals(other["tokens"]):
            return Effect(math.nan, math.nan, 0)
        nats_W = (part["nats"] - other["nats"]).to_numpy(float)
        parts.append((1.0, ratio_of_sums(nats_W, part["tokens"].to_numpy(float))))
    return combined(parts) if parts else Effect(math.nan, math.nan, 0)


def parts_of_selectivity(run: Run) -> dict[str, pd.DataFrame]:
    """{language: `nats` that every window adds to the mean selectivity, and its `tokens`}; empty without deactivations.

    A rise counts 1 / G under the region of the language of the window, and -1 / (G (G - 1)) under that of another.
    """
    rises = window_rises(run)
    languages = list(dict.fromkeys(language for _, language in rises))
    parts: dict[str, pd.DataFrame] = {}
    for (region, language), rise in rises.items():
        weight = 1 / len(languages) if region == language else -1 / (len(languages) * (len(languages) - 1))
        nats = weight * rise["rise"] + (parts[language]["nats"] if language in parts else 0)
        parts[language] = pd.DataFrame({"nats": nats, "tokens": rise["tokens"]})
    return parts


def ranks_of(run: Run) -> pd.DataFrame | None:
    """The rank of every neuron for every language, (K, G); None where a run kept no scores."""
    scores = run.neuron_scores
    return None if scores is None else scores.set_index(["layer", "neuron"]).rank()


def rank_correlation(one: pd.DataFrame | None, other: pd.DataFrame | None) -> float:
    """The mean over languages of Spearman's correlation; NaN without scores of the same neurons."""
    if one is None or other is None or not one.index.equals(other.index):
        return math.nan
    return float(one.corrwith(other).mean())
