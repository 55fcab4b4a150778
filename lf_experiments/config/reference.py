"""Every key with its type, default and meaning, read from the schema; `python -m lf_experiments.config.reference` is the page.

`make docs` writes that page to docs/configuration.md.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from lf_experiments.config import schema
from lf_experiments.config.checks import LEAST
from lf_experiments.config.options import group_choices, options_of
from lf_experiments.config.retired import RETIRED

NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any"}
"""Types as a user writes them."""


@dataclass(frozen=True)
class Key:
    """A key of the configuration."""

    name: str
    """With dots: `dataset.sentences`."""
    type: str
    default: str
    """As in YAML; empty where the option of the group sets it or the user must."""
    meaning: str

    @property
    def facts(self) -> str:
        """Type and default in one line."""
        return f"{self.type}; default {self.default}" if self.default else self.type


def keys(section: Any = schema.Config, prefix: str = "") -> Iterator[Key]:
    """All keys below a dataclass of the schema, in its order, without retired ones; a dataclass in a field is its fields."""
    types, texts = get_type_hints(section), meanings(section)
    for field in fields(section):
        name, type_ = f"{prefix}{field.name}", without_none(types[field.name])
        if is_dataclass(type_):
            yield from keys(type_, f"{name}.")
        elif name not in RETIRED:
            yield Key(name, type_text(name, type_), default_text(field), texts.get(field.name, ""))


def sections(section: Any = schema.Config, prefix: str = "") -> dict[str, str]:
    """{group or part of one: its meaning}: `dataset`, `model`, `model.recipe` and so on."""
    found: dict[str, str] = {}
    for name, type_ in get_type_hints(section).items():
        inner = without_none(type_)
        if is_dataclass(inner):
            found |= {f"{prefix}{name}": inspect.cleandoc(inner.__doc__ or ""), **sections(inner, f"{prefix}{name}.")}
    return found


@cache
def meanings(section: type) -> dict[str, str]:
    """{field: the docstring under it} of a dataclass and of those it inherits from."""
    inherited = {name: text for base in section.__mro__[1:] if is_dataclass(base) for name, text in meanings(base).items()}
    tree: Any = ast.parse(inspect.getsource(section))
    body = tree.body[0].body
    pairs = [pair for pair in zip(body, body[1:], strict=False) if list(map(type, pair)) == [ast.AnnAssign, ast.Expr]]
    return inherited | {field.target.id: " ".join(text.value.value.split()) for field, text in pairs}


def without_none(type_: Any) -> Any:
    """`int` of `int | None`; any other type as it is."""
    inner = [part for part in get_args(type_) if part is not NoneType]
    return inner[0] if NoneType in get_args(type_) else type_


def type_text(name: str, type_: Any) -> str:
    """A type in words, with the smallest value or all values where only some are allowed."""
    origin, inner = get_origin(type_), get_args(type_)
    if origin is list:
        return f"list of {type_text('', inner[0])}"
    if origin is dict:
        return f"{{{NAMES[inner[0]]}: {NAMES[inner[1]]}}}"
    if inspect.isclass(type_) and issubclass(type_, Enum):
        return ", ".join(member.name for member in type_)
    return f"{NAMES[type_]}, at least {LEAST[name]}" if name in LEAST else NAMES[type_]


def default_text(field: Field) -> str:
    """The default of a field as in YAML."""
    default = field.default if field.default_factory is NO_DEFAULT else field.default_factory()
    return "" if default == schema.MISSING else yaml_text(default)


def yaml_text(value: Any) -> str:
    """A value as in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_text, value))}]"
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value}" if value or not isinstance(value, str) else '""'


# The page ---------------------------------------------------------------------------------------------------------------

INTRODUCTION = """# Configuration

Every key, with its default and meaning. Set a key with `key=value` on the command line, choose an option of a group with
`group=option`, and add options of your own in `FOLDER/group/option.yaml` with `--config-dir FOLDER`. Where the default is
empty, the option of the group sets the value, or you must. `--help GROUP` and `--help KEY` say the same in the terminal.

This page is written by `make docs` from `lf_experiments/config/schema.py`."""


def page() -> str:
    """docs/configuration.md: keys without a group first, then a section for each group."""
    every = list(keys())
    parts = [INTRODUCTION, table([key for key in every if "." not in key.name])]
    for section, meaning in sections().items():
        parts += [f"{'##' if '.' not in section else '###'} {section}", meaning]
        if section in group_choices():
            parts.append(f"Options: {options_text(section)}.")
        parts.append(table([key for key in every if key.name.rpartition(".")[0] == section]))
    return "\n\n".join(parts) + "\n"


def options_text(group: str) -> str:
    """The options of a group in a sentence."""
    if group == "model":
        return f"{len(options_of(group))} models, in the table of [models.md](models.md)"
    named = [f"`{option}`" for option in options_of(group)]
    return ", ".join([*named, "`step<N>`"] if group == "checkpoint" else named)


def table(rows: list[Key]) -> str:
    """Keys as a table in Markdown."""
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join(head + [f"| `{key.name}` | {key.type} | {key.default} | {escaped(key.meaning)} |" for key in rows])


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
