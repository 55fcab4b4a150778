"""The boundary: what Hydra composed, read into plain dataclasses and checked by everyone who has needs of their own."""

from __future__ import annotations

from omegaconf import DictConfig

from lf_experiments.config.read import read_config
from lf_experiments.config.schema import Config
from lf_experiments.corpora.corpus import check_corpora
from lf_experiments.extensions import names_in
from lf_experiments.models.nano.recipe import check_recipe


def checked_config(composed: DictConfig) -> Config:
    """The configuration of a run. Raises `InputError` for anything that cannot be run."""
    from lf_experiments.neurons.interventions import edit_of

    config = read_config(composed)
    if config.model.recipe:
        check_recipe(config.model.recipe)
    check_corpora(config)
    edit_of(config.intervention.name)
    if config.measures:
        from lf_experiments.measures.similarity import ALIGNMENT, load_measures

        load_measures([*names_in(ALIGNMENT), *config.measures])
    if config.tasks:
        from lf_experiments.evaluations.task_index import task_names

        task_names(config.tasks)
    return config
