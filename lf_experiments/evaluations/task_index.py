"""The tasks that a user can name: those of lm_eval, and YAML files that each describe one in its format."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lf_experiments.errors import InputError
from lf_experiments.evaluations.harness import quiet_harness

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

YAML = (".yaml", ".yml")


def task_names(names: list[str]) -> list[str]:
    """The tasks to run, of the names a user gives: each once: of a tag its tasks, of a YAML file its full path.

    Reads no data set. Raises `InputError`, with names that are similar, for one that the harness does not have.
    """
    found = [task for name in names for task in (yaml_file(name) or known_tasks(name))]
    return list(dict.fromkeys(found))


def yaml_file(name: str) -> list[str]:
    """The full path of a YAML file that describes a task, alone in a list; nothing where the name is not that of a file."""
    path = Path(name).expanduser().resolve()
    if path.suffix not in YAML:
        return []
    if not path.is_file():
        raise InputError("tasks", name, "there is no such file", "give the path of a YAML file that describes a task")
    return [str(path)]


def known_tasks(name: str) -> list[str]:
    """The tasks of the harness that a name stands for."""
    index = task_manager(include_defaults=True).task_index
    if name in index:
        return sorted(index[name].tags) if index[name].kind.name == "TAG" else [name]
    similar = get_close_matches(name, index, n=5, cutoff=0.5)
    found = f"similar names are {', '.join(similar)}" if similar else "`lm_eval ls tasks` lists them"
    raise InputError("tasks", name, "lm_eval has no task of this name", f"{found}; or give a YAML file that describes yours")


@cache
def task_manager(include_defaults: bool) -> TaskManager:
    """The index of all tasks of the harness, which takes seconds to read, or an empty one."""
    from lm_eval.tasks import TaskManager

    with quiet_harness():
        return TaskManager(include_defaults=include_defaults)


def load_tasks(name: str) -> dict[str, Any]:
    """Load the tasks that a name, as `task_names` returns it, stands for, with their data.

    Raises `InputError` for one that cannot be loaded, or that runs what the model writes as code.
    """
    manager = task_manager(include_defaults=not name.endswith(YAML))
    try:
        loaded = manager.load([name])
    except Exception as error:  # of the harness, its tasks' code, or the hub
        problem = f"lm_eval cannot load it: {type(error).__name__}: {error}"
        raise InputError("tasks", name, problem, "check that its data can be reached, and what the task needs") from error
    for task in loaded["tasks"].values():
        if getattr(task, "UNSAFE_CODE", False):
            raise InputError("tasks", name, "it runs code that the model writes", "choose another task")
    return loaded
