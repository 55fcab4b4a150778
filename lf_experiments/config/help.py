"""`--help`: one screen of groups and keys; with names behind it, what these groups and keys mean."""

from __future__ import annotations

import textwrap
from difflib import get_close_matches

from lf_experiments.config.options import description, group_choices, options_of
from lf_experiments.config.reference import Key, keys, sections
from lf_experiments.errors import InputError

WIDTH = 100

HEAD = """\
lf_experiments: how a multilingual language model converges to a lingua franca

  python -m lf_experiments                                              grow a tiny model and analyse it
  python -m lf_experiments model=local model.path=FOLDER dataset=ntrex  analyse a model of your own
  python -m lf_experiments --multirun checkpoint=step0,step100,final    the same model as it learns
"""

FOOT = """\
--help GROUP lists its options and keys; --help KEY, such as --help dataset.sentences, explains one.
plan=true prints what a run would take; --cfg job prints the whole configuration; --multirun runs every
combination of values that are separated by commas; --hydra-help lists the flags of Hydra."""


def help_text(names: list[str]) -> str:
    """The screen of `--help`, or of `--help NAME ...` what is known of each name. Raises `InputError` for an unknown one."""
    asked = [name.partition("=")[0] for name in names if not name.startswith("-")]
    return "\n\n".join(map(explained, asked)) if asked else overview()


def overview() -> str:
    """The groups with a few of their options, and the names of all other keys."""
    groups = [f"  {group:<14}{choices}{count(group, choices)}" for group, choices in group_choices().items()]
    single = [key.name for key in keys() if "." not in key.name]
    parts = [name for name in sections() if "." not in name and name not in group_choices()]
    others = f"Other keys, set with key=value: {', '.join(single)}, and those below {', '.join(parts)}."
    return "\n".join([HEAD, "Groups, chosen with group=option:", *groups, "", textwrap.fill(others, WIDTH), FOOT])


def count(group: str, choices: str) -> str:
    """How many options there are, where only some are named."""
    return f" ({len(options_of(group))})" if "..." in choices else ""


def explained(name: str) -> str:
    """What is known of a group or a key."""
    found = [key for key in keys() if key.name == name or key.name.startswith(f"{name}.")]
    if not found and name not in group_choices():
        raise unknown(name)
    lines = [f"{name}: {sections()[name]}"] if name in sections() else []
    if name in group_choices():
        lines += ["", f"Options, {name}=OPTION:", *option_lines(name)]
    return "\n".join([*lines, *(["", "Keys:"] if lines and found else []), *map(key_text, found)])


def option_lines(group: str) -> list[str]:
    """The options of a group, each with what it says of itself."""
    rows = {option: description(group, option) for option in options_of(group)}
    if group == "checkpoint":
        rows["step<N>"] = "Any training step that the model has published."
    width = max(map(len, rows)) + 2
    return [f"  {option:<{width}}{textwrap.shorten(text, WIDTH + 20 - width)}" for option, text in rows.items()]


def key_text(key: Key) -> str:
    """A key with type and default, and its meaning below."""
    meaning = textwrap.fill(key.meaning, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return f"  {key.name} ({key.facts})\n{meaning}"


def unknown(name: str) -> InputError:
    """The error for a name that is neither a group nor a key, with those that are spelt like it."""
    names = [*group_choices(), *sections(), *(key.name for key in keys())]
    similar = [known for known in names if name in known] or get_close_matches(name, names, 3, 0.7)
    remedy = f"similar names: {', '.join(dict.fromkeys(similar))}" if similar else "`--help` lists groups and keys"
    return InputError("--help", name, "there is no such group or key", remedy)
