"""`tracking=trackio`: the mirror in trackio, a dashboard on this machine that needs no account.

`TRACKIO_DIR=<run folder>/trackio trackio show` opens it.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lf_experiments.config.schema import TrackingConfig, TrackingMode
from lf_experiments.errors import InputError
from lf_experiments.tracking._content import Content

REMOTES = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""The environment variables with which trackio sends a run to a Space of the Hugging Face hub, or to a server."""

if find_spec("trackio") is None:
    raise InputError("tracking", "trackio", "the package trackio is not installed", "pip install 'lf_experiments[trackio]'")


def trackio(tracking: TrackingConfig, content: Content) -> str:
    """Mirror a run or a sweep into `<folder>/trackio`, or where TRACKIO_DIR says; returns how it is shown.

    It stays on this machine unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL sends it elsewhere, which `tracking.mode=offline`
    forbids. trackio reads TRACKIO_DIR when it is imported, so that each mirror is written by a process of its own. Raises
    whatever trackio raises.
    """
    folder = Path(os.environ.get("TRACKIO_DIR") or content.folder / "trackio").absolute()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(write, tracking, content, folder).result()
    return f"trackio run {content.name}: TRACKIO_DIR={folder} trackio show --project {tracking.project}"


def write(tracking: TrackingConfig, content: Content, folder: Path) -> None:
    """Write a mirror into the database in `folder`, in a process that has not imported trackio yet."""
    os.environ["TRACKIO_DIR"] = str(folder)
    for name in REMOTES if tracking.mode is TrackingMode.offline else ():
        os.environ.pop(name, None)
    import trackio as sdk

    with redirect_stdout(StringIO()):
        run = sdk.init(
            project=tracking.project,
            name=content.name,
            group=tracking.group,
            config=content.config | {"kind": content.kind, "tags": tracking.tags, "has_failed": content.has_failed},
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        log_everything(sdk, run, content)
        sdk.finish()


def log_everything(sdk: Any, run: Any, content: Content) -> None:
    """Log the numbers, the tables, the figures with their captions, and the files as one artifact.

    trackio knows one axis, the step: that of a point is its value on the axis of its series.
    """
    for series in content.series:
        for point in series.points:
            run.log(dict(point), step=int(point[series.axes[0]]) if series.axes else None)
    for name, table in content.tables.items():
        run.log({f"tables/{name}": sdk.Table(dataframe=table.astype(object).where(table.notna(), None))})
    for stem, (path, caption) in content.figures.items():
        run.log({f"figures/{stem}": sdk.Image(str(path), caption=caption)})
    artifact = sdk.Artifact(content.artifact, type="results")
    for path in content.files:
        artifact.add_file(str(path))
    run.log_artifact(artifact)
