"""`checkpoint=glob(...)`: the published training steps that it matches, which no file lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from lf_experiments.config.schema import ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.multirun.combinations import combinations
from lf_experiments.wording import in_words

FINAL = "final"
"""The option of the final weights, which every model has."""

DECIDE_THE_MODEL = ("model", "experiment")
"""Keys, or their groups, on which the published steps depend."""


def is_glob(override: Override) -> bool:
    """Whether an override is `checkpoint=glob(...)`."""
    return override.key_or_group == "checkpoint" and isinstance(override.value(), Glob)


def with_published_steps(
    grids: list[list[Override]], parser: OverridesParser, compose: Callable[[list[str]], DictConfig]
) -> list[list[Override]]:
    """Grids with the steps in place of each glob: those that all models of these grids have published, in order.

    Prints which steps only some of them have. Raises `InputError` for a glob that matches no step of all models.
    """
    models = [model for grid in grids if any(map(is_glob, grid)) for model in models_of(grid, compose)]
    return [[expanded(override, models, parser) if is_glob(override) else override for override in grid] for grid in grids]


def models_of(grid: list[Override], compose: Callable[[list[str]], DictConfig]) -> list[ModelConfig]:
    """The models of a grid."""
    deciding = [override for override in grid if override.key_or_group.partition(".")[0] in DECIDE_THE_MODEL]
    composed = [compose(list(overrides)).model for overrides in combinations(deciding)]
    return [cast(ModelConfig, OmegaConf.to_object(model)) for model in composed]


def expanded(override: Override, models: list[ModelConfig], parser: OverridesParser) -> Override:
    """A glob as the list of options that it matches in every model."""
    glob = cast(Glob, override.value())
    matched = [set(glob.filter(options(model))) for model in models]
    common, some = set.intersection(*matched), set.union(*matched)
    if not common:
        steps = "; ".join(f"{model.name} has {in_words(model.published_steps) or 'none'}" for model in models)
        problem = "it matches no published step of every model"
        raise InputError("checkpoint", override.get_value_string(), problem, f"choose among the steps: {steps}")
    if some > common:
        left_out = in_words([step_of(option) for option in sorted(some - common, key=step_of)])
        print(f"{override.input_line}: without {left_out}, which not all models of the sweep have published")
    ordered = [option for model in models for option in options(model) if option in common]
    return parser.parse_override(f"{override.get_key_element()}={','.join(dict.fromkeys(ordered))}")


def options(model: ModelConfig) -> list[str]:
    """The checkpoints of a model, in the order of training."""
    return [*(f"step{step}" for step in model.published_steps), FINAL]


def step_of(option: str) -> int:
    """300 of the option `step300`."""
    return int(option.removeprefix("step"))
