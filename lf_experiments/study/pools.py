"""What a run keeps of every neuron: the pools that its stages read, recorded in one pass."""

from __future__ import annotations

from lf_experiments.config.schema import Config, Match, Stage
from lf_experiments.measures.probe import pools_of


def recorded_pools(config: Config) -> list[str]:
    """What a pass records: what the run reads, and what is to be kept for others."""
    return list(dict.fromkeys([*pools_of_run(config), *(pool.name for pool in config.cache.pools)]))


def pools_of_run(config: Config) -> list[str]:
    """Those of the probe, and the magnitude where random neurons are to match the impact of key regions."""
    has_regions = Stage.deactivate in config.stages or (Stage.cloze in config.stages and config.cloze.regions)
    matched = has_regions and config.control.draws > 0 and config.control.match is Match.impact
    return list(dict.fromkeys([*pools_of(config.probe), *(["magnitude"] if matched else [])]))
