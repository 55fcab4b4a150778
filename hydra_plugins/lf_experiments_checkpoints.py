"""`checkpoint=step<N>` for every training step: a source of configurations that has any of them, and no file for each.

Whether the model has published a step is checked once the model is known (`lf_experiments/config/checks.py`).
"""

import re
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from lf_experiments.config.options import configuration_folder

STEP = re.compile(r"checkpoint/step(0|[1-9]\d*)(\.yaml)?")


class CheckpointSource(ConfigSource):
    """Configurations `checkpoint/step<N>` with `step: N`. It lists `step<N>`, in place of steps without end."""

    @staticmethod
    def scheme() -> str:
        return "checkpoints"

    def load_config(self, config_path: str) -> ConfigResult:
        found = STEP.fullmatch(config_path)
        if not found:
            raise ConfigLoadError(f"Config not found : {config_path}")
        config = OmegaConf.create({"step": int(found[1])})
        return ConfigResult(self.provider, self.full_path(), config, header={"package": None})

    def is_config(self, config_path: str) -> bool:
        return STEP.fullmatch(config_path) is not None

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") == "checkpoint"

    def available(self) -> bool:
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return ["step<N>"] if self.is_group(config_path) and results_filter is not ObjectType.GROUP else []


class CheckpointSearchPath(SearchPathPlugin):
    """Adds the source behind `conf/`, and in no other application of Hydra."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        ours = Path(configuration_folder())
        if any(Path(element.path.removeprefix("file://")) == ours for element in search_path.get_path()):
            search_path.append("lf_experiments", "checkpoints://any")
