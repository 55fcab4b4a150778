"""From what Hydra composed to plain, checked dataclasses: the one boundary."""

from __future__ import annotations

from typing import cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import lf_experiments.config.resolvers  # noqa: F401  # what is composed names them
from lf_experiments.config.checks import check
from lf_experiments.config.schema import Config
from lf_experiments.errors import InputError


def read_config(composed: DictConfig) -> Config:
    """The composed configuration as plain, checked dataclasses.

    Merging into the schema once more refuses keys that `+key=value` slipped in.
    Raises `InputError` for anything that cannot be run.
    """
    for key in sorted(OmegaConf.missing_keys(composed)):
        raise InputError(key, "???", "this choice needs a value and has no default", f"give {key}=VALUE")
    values = OmegaConf.to_container(composed, resolve=True)
    try:
        config = cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), values)))
    except OmegaConfBaseException as error:
        key = error.full_key or ""
        value = OmegaConf.select(OmegaConf.create(values), key)
        problem = str(error).splitlines()[0]
        remedy = "`python -m lf_experiments --cfg job` shows the keys there are"
        raise InputError(key, value, problem, remedy) from error
    check(config)
    return config
