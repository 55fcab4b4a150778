"""What `${name:...}` in a YAML of ours gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import omegaconf
from omegaconf import OmegaConf


def path_name(path: str | None) -> str:
    """The name of a folder or a file: what a model without a name of its own is called."""
    return Path(path).expanduser().resolve().name.removesuffix(".gguf") if path else "local"


def new_folder(path: str) -> str:
    """The folder `path`, made now, or where it is there already the first of `path`-2, `path`-3 ... that is not.

    Runs that start in the same second get folders of their own.
    """
    folder, number = path, 1
    while True:
        try:
            Path(folder).mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
            folder = f"{path}-{number}"


IS_OMEGACONF_2_3 = omegaconf.__version__.startswith("2.3.")
register: Any = OmegaConf.register_new_resolver if IS_OMEGACONF_2_3 else OmegaConf.register_resolver
register("path_name", path_name, replace=True)
register("new_folder", new_folder, use_cache=True, replace=True)
