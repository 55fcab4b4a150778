"""Whether a command is a sweep: by a flag, by `hydra.mode`, or because the experiment that it names is one."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from lf_experiments.config.options import configuration_folder
from lf_experiments.multirun.names import MODE_FLAGS, key_of

FOLDER_FLAGS = ("--config-dir", "-cd")
FILES = re.compile(r"file://([^,'\"\]]+)")
"""The folders in a list of places."""
OTHER_FLAGS = ("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc", "--experimental-rerun")
"""Flags of Hydra with which no job is run, or one."""


def with_mode(arguments: list[str]) -> list[str]:
    """A command, with `--multirun` where its experiment is a sweep and the command does not say how it is run.

    Hydra 1.3 finds the mode in the experiment itself, Hydra 1.4 must be told before it reads one.
    """
    flags = {argument.partition("=")[0] for argument in arguments}
    is_told = not flags.isdisjoint((*MODE_FLAGS, *OTHER_FLAGS)) or "hydra.mode" in map(key_of, arguments)
    named = [argument.partition("=")[2] for argument in arguments if key_of(argument) == "experiment"]
    is_sweep = any(is_sweep_file(Path(folder, "experiment", f"{name}.yaml")) for folder in folders(arguments) for name in named)
    return [*arguments, "--multirun"] if is_sweep and not is_told else arguments


def folders(arguments: list[str]) -> list[str]:
    """Where a command finds experiments: `conf/`, and the folders it names."""
    apart = [value for flag, value in zip(arguments, arguments[1:], strict=False) if flag in FOLDER_FLAGS]
    joined = [argument.partition("=")[2] for argument in arguments if argument.startswith("--config-dir=")]
    searched = [path for argument in arguments if key_of(argument) == "hydra.searchpath" for path in FILES.findall(argument)]
    return [configuration_folder(), *apart, *joined, *searched]


def is_sweep_file(path: Path) -> bool:
    """Whether an experiment has `hydra.mode: MULTIRUN`; one that cannot be read is left to Hydra, which says what is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return content["hydra"]["mode"] == "MULTIRUN"
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return False
