"""The loaded model in the hands of lm_eval, the harness that the paper used."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from lf_experiments.evaluations.reading import Reading
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import Intervention

if TYPE_CHECKING:
    from lf_experiments.evaluations.reader_lm import ReaderLM

ALONE = "DISABLE_MULTIPROC"
"""The variable that keeps the harness from drawing its bootstrap samples in a pool, which a worker of a team cannot start."""


def harness_model(reader: Reader, reading: Reading, interventions: list[Intervention]) -> ReaderLM:
    """The reader as a model of the harness, as `ReaderLM` says."""
    from lf_experiments.evaluations.reader_lm import ReaderLM

    return ReaderLM(reader, reading, interventions)


@contextmanager
def quiet_harness() -> Iterator[None]:
    """Inside the block the harness logs errors alone, prints nothing, and starts no processes of its own.

    It draws names for its tasks; Python's random numbers are afterwards as if it had not.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    state, variable = random.getstate(), os.environ.get(ALONE)
    os.environ[ALONE] = "1"
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        random.setstate(state)
        os.environ.pop(ALONE)
        os.environ.update({ALONE: variable} if variable else {})
