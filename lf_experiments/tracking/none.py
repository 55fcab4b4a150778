"""`tracking=none`: the run folder is all there is."""

from __future__ import annotations

from lf_experiments.config.schema import TrackingConfig
from lf_experiments.tracking._content import Content


def none(_tracking: TrackingConfig, _content: Content) -> None:
    """Track nothing."""
