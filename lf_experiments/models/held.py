"""The model that this process has loaded: one at a time, found again by the next job of a sweep that reads with the same."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lf_experiments.config.schema import ModelConfig
from lf_experiments.models.load import Reader
from lf_experiments.models.team import Team, assemble_team


@dataclass
class Held:
    """At most one model, and what it was loaded from."""

    reader: Reader | None = None
    origin: Any = None

    def load(self, folder: Path, config: ModelConfig, num_processes: int, tensor_parallel: int, fingerprint: str) -> Reader:
        """The model that is held where it is of this origin; else that goes, and the model in `folder` is loaded.

        `fingerprint` is that of the files in the folder. Raises as `assemble_team`.
        """
        origin = (folder, config, num_processes, tensor_parallel, fingerprint)
        if self.reader is None or self.origin != origin:
            self.release()
            self.reader, self.origin = assemble_team(folder, config, num_processes, tensor_parallel), origin
        return self.reader

    def release(self) -> None:
        """Let the model go, and the other processes that read with it."""
        if self.reader is None:
            return
        if isinstance(self.reader, Team):
            self.reader.end()
        self.reader = self.origin = None
        gc.collect()


HELD = Held()
"""That of this process."""
