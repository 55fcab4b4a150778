"""What a configuration names and this package, or the user, brings: a probe, a measure, a tracker, a corpus.

A plain name is one of ours: `zscore` is the function `zscore` of the module of that name. `module:function` is anybody's, from
the working directory or the environment, so that a method of one's own needs no fork.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from lf_experiments.errors import InputError


def load_named(key: str, package: str, name: str, attribute: str | None = None) -> Callable[..., Any]:
    """The function that the configuration key `key` names: one of `package` by the name of its module, or `module:function`.

    Of a module of `package` it is the `attribute`, by default the function that is called like the module.
    Imports it. Raises `InputError`, with the names there are, where there is no such module or function.
    """
    module, _, function = name.partition(":") if ":" in name else (f"{package}.{name}", "", attribute or name)
    if ":" not in name and name not in names_in(package):
        ours = ", ".join(names_in(package))
        raise InputError(key, name, "there is none of this name", f"choose among {ours}, or give your own as module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        problem = f"there is no module {module} in the working directory or the environment"
        raise InputError(key, name, problem, "run the command in the folder of the module, or install it") from error
    if not hasattr(found, function):
        raise InputError(key, name, f"the module {module} has no {function}", "name a function that is in it")
    return getattr(found, function)


def beside(function: Callable[..., Any], name: str, default: Any = None) -> Any:
    """What else the module of a function has under a name, such as the pool that a probe reads; `default` where it has none."""
    return getattr(sys.modules.get(getattr(function, "__module__", "")), name, default)


def names_in(package: str) -> list[str]:
    """The modules of a package, which are the names a configuration can give."""
    paths = import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))
