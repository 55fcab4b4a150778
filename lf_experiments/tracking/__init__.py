"""The mirror of a run or a sweep in a tracking service. A tracker is one module of this folder and one YAML of conf/tracking:
a function (TrackingConfig, Content) -> str | None of the name of its module, which says where the mirror is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lf_experiments.config.schema import TrackingConfig
from lf_experiments.extensions import load_named
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep
from lf_experiments.tracking._content import Content, content_of_run, content_of_sweep

log = logging.getLogger(__name__)

Tracker = Callable[[TrackingConfig, Content], str | None]


def load_tracker(tracking: TrackingConfig) -> Tracker:
    """The tracker that `tracking.tracker` names: one of this folder, or `module:function`.

    Raises `InputError` where there is none of this name, or its package is not installed: ask before the run, not after it.
    """
    return load_named("tracking.tracker", __name__, tracking.tracker)


def log_run(tracking: TrackingConfig, run: Run) -> str | None:
    """Mirror a run folder; returns where it went, None where nothing is tracked. A mirror that fails is a warning."""
    return mirror(tracking, content_of_run(run))


def log_sweep(tracking: TrackingConfig, sweep: Sweep, folder: Path, name: str, group: str | None) -> str | None:
    """Mirror what `write_sweep` left in `folder` as one more run called `name`, in the `group` of its jobs; else as `log_run`.

    It holds the table, the figures, and every score as a series over steps, tokens and parameters.
    """
    return mirror(replace(tracking, group=group), content_of_sweep(sweep, folder, name))


def mirror(tracking: TrackingConfig, content: Content) -> str | None:
    """Hand the content to the tracker. Whatever a tracking service raises is a warning: the results are in the folder."""
    tracker = load_tracker(tracking)
    try:
        return tracker(tracking, content)
    except Exception as error:
        log.warning("%s could not mirror the run: %s", tracking.tracker, error)
        return None
