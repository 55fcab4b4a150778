"""What Hydra calls before it opens a log in the run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from lf_experiments.errors import InputError
from lf_experiments.paths import refuse_unwritable


class RunFolderCheck(Callback):
    """Stops a run whose folder cannot be written, with a message in place of a traceback of the logger."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Called for a single run; the folder of a sweep is checked with its jobs."""
        try:
            refuse_unwritable("hydra.run.dir", Path(config.hydra.run.dir))
        except InputError as error:
            sys.exit(f"error: {error}")
