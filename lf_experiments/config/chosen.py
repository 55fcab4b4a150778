"""A group of the configuration without Hydra: an option of `conf/`, with values of one's own, against the schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lf_experiments.config.options import configuration_folder
from lf_experiments.config.schema import Config
from lf_experiments.errors import InputError


def option_file(group: str, option: str) -> Path | None:
    """The file of an option, `conf/<group>/<option>.yaml`; None where there is none."""
    path = Path(configuration_folder(), group, f"{option}.yaml")
    return path if path.is_file() else None


def chosen(group: str, option: str | None, values: Mapping[str, Any]) -> Any:
    """The dataclass of a group: an option, or none, with some values changed.

    Raises `InputError` for a key that the group does not have, and for a value of another kind.
    """
    cache = OmegaConf.load(Path(configuration_folder(), "config.yaml")).cache  # the folder of downloads is in the cache
    file = option and option_file(group, option)
    try:
        schema = OmegaConf.structured(Config)
        option_values: Any = OmegaConf.load(file) if file else {}
        config: Any = OmegaConf.merge(schema, {"cache": cache}, {group: option_values}, {group: dict(values)})
        return OmegaConf.to_object(config[group])
    except OmegaConfBaseException as error:
        problem, key = str(error).splitlines()[0], error.full_key or group
        value = values.get(key.rpartition(".")[2], option)
        raise InputError(key, value, problem, f"see conf/{group} for what it has") from error
