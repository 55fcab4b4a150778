"""Probing: from activations to the key linguistic regions, by whichever method the configuration names (sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lf_experiments.config.budget import budget_of
from lf_experiments.config.chosen import chosen
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.extensions import beside, load_named
from lf_experiments.measures.regions import Regions, Scores
from lf_experiments.measures.selection import above, highest
from lf_experiments.neurons.activations import Activations

PROBES = "lf_experiments.measures.probes"

Method = Callable[[Activations, ProbeConfig], Scores]
Captured = Activations | Mapping[str, Activations]
"""The activations that a method reads, or those of several pools by their names."""

Statistic = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`of_moments` of a method: z (B, G, N) under B groupings from sums over the sentences of a language of the vectors of eq. (6),
(B, G, N), sums of their squares (B, G, N), and numbers of sentences (B, G, 1)."""


def method_of(config: ProbeConfig) -> Method:
    """The function that `probe.name` names. Raises `InputError` where there is none."""
    return load_named("probe.name", PROBES, config.name)


def pool_of(config: ProbeConfig) -> str:
    """The pool of the activations that a probe reads: its module's `POOL`, by default the mean."""
    return beside(method_of(config), "POOL", "mean")


def pools_of(config: ProbeConfig) -> list[str]:
    """The pools that a run keeps: the mean, of which the map is made, and what its probe and its budget read."""
    budget = budget_of(config.budget)
    counted = [pool_of(defaults_of(budget.method))] if budget.method else []
    return list(dict.fromkeys(["mean", pool_of(config), *counted]))


def most_languages(config: ProbeConfig, languages: int) -> int:
    """For how many of the languages a neuron can be key: what the method says of its threshold, by default all."""
    told = beside(method_of(config), "most_languages")
    return told(config, languages) if told and config.budget == "threshold" else languages


def moments_of(config: ProbeConfig) -> Statistic | None:
    """The method's z from sums over sentences, where it has one and neurons are key above a threshold; else None."""
    return beside(method_of(config), "of_moments") if config.budget == "threshold" else None


def noise_floor_of(config: ProbeConfig, languages: int) -> float | None:
    """The share of neurons that noise alone makes key, where the method knows it."""
    told = beside(method_of(config), "noise_floor")
    return told(config, languages) if told and config.budget == "threshold" else None


def defaults_of(method: str) -> ProbeConfig:
    """The configuration of a method as it is when nothing but its name is given, selected by its own threshold."""
    return chosen("probe", method, {"name": method, "budget": "threshold"})


def probe(captured: Captured, config: ProbeConfig) -> Regions:
    """The key linguistic region of each language: as many neurons as `config.budget` says, those with the highest z.

    What z is, the method says; of `zscore` it is eq. (12). Raises `ValueError` where the pools that the method and its budget
    read are not there.
    """
    scores = scored(captured, config)
    is_key_L_GN = selection(scores, captured, config)
    return Regions(languages_of(captured), scores.score_L_GN, scores.z_L_GN, is_key_L_GN)


def scored(captured: Captured, config: ProbeConfig) -> Scores:
    """How much every neuron belongs to every language, by the method of a configuration. Raises as `probe`."""
    by_pool, pool = pools_in(captured), pool_of(config)
    if pool not in by_pool:
        raise ValueError(f"the probe {config.name} reads the pool {pool}, not {', '.join(by_pool)}")
    return method_of(config)(by_pool[pool], config)


def selection(scores: Scores, captured: Captured, config: ProbeConfig) -> list[Tensor]:
    """Which neurons are key for which language, layer by layer (G, N), bool."""
    budget = budget_of(config.budget)
    if budget.share is not None:
        neurons = sum(z_GN.shape[1] for z_GN in scores.z_L_GN)
        return highest(scores.z_L_GN, torch.full((len(scores.z_L_GN[0]),), round(budget.share * neurons)))
    if budget.method is not None:
        counted = probe(captured, defaults_of(budget.method))
        return highest(scores.z_L_GN, counted.size_LG.sum(dim=0))
    return above(scores.z_L_GN, config.threshold)


def pools_in(captured: Captured) -> Mapping[str, Activations]:
    """The activations by their pools."""
    return {captured.pool: captured} if isinstance(captured, Activations) else captured


def languages_of(captured: Captured) -> list[str]:
    """The languages of activations, in the order of the map."""
    return next(iter(pools_in(captured).values())).language_codes
