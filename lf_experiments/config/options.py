"""`conf/` as files: its folder, its groups, and what the options of a group are called and say of themselves."""

from __future__ import annotations

import re
from pathlib import Path

DEFAULT = re.compile(r"  - (?P<group>\w+): (?P<option>\S+)\s*# (?P<choices>.*)")
"""A line of the defaults list of conf/config.yaml: a group, its default, and its choices in a comment."""


def configuration_folder() -> str:
    """`conf/`: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / "conf", package.parent / "conf"
    return str(inside if inside.is_dir() else beside)


def group_choices() -> dict[str, str]:
    """{group: its choices in a few words}, in the order of conf/config.yaml."""
    lines = Path(configuration_folder(), "config.yaml").read_text(encoding="utf-8").splitlines()
    return {found["group"]: found["choices"] for found in map(DEFAULT.fullmatch, lines) if found}


def options_of(group: str) -> list[str]:
    """The options of a group by name, numbers by size: 1b before 12b."""
    names = [path.stem for path in Path(configuration_folder(), group).glob("*.yaml")]
    return sorted(
        names, key=lambda name: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
    )


def description(group: str, option: str) -> str:
    """The first line in which an option says what it is."""
    lines = Path(configuration_folder(), group, f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    comments = (line.lstrip("# ") for line in lines if line.startswith("#"))
    return next(line for line in comments if not line.startswith(("@package", "python -m")))
