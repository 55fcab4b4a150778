"""`tracking=wandb`: the mirror in Weights & Biases, online where there are credentials, else offline in the run folder."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import wandb as sdk

from lf_experiments.config.schema import TrackingConfig, TrackingMode
from lf_experiments.tracking._content import Content, Series

log = logging.getLogger(__name__)

INIT_SECONDS = 30
"""How long wandb may take to start a run; then it is kept offline."""
FINISH_SECONDS = 300
"""How long an upload may take at the end; what is missing can be uploaded later."""
PUBLIC_HOST = "api.wandb.ai"


def wandb(tracking: TrackingConfig, content: Content) -> str | None:
    """Mirror a run or a sweep; returns where it went, None where WANDB_MODE disables wandb.

    wandb's own files go to `<folder>/wandb`. It never asks for a login: without credentials, or where going online fails, the
    run is kept offline, to be uploaded with `wandb sync` or read with `wandb leet`. Raises whatever wandb raises.
    """
    mode = chosen_mode(tracking.mode)
    if mode == "disabled":
        return None
    with staging_in(content.folder / "wandb"):
        run = start(tracking, content, mode)
        try:
            log_everything(run, content)
        except BaseException:
            run.finish(exit_code=1)
            raise
        where = f"offline in {Path(run.dir).parent}" if run.offline else run.url
        run.finish(exit_code=int(content.has_failed))
    return f"wandb run {run.name}: {where}"


def chosen_mode(mode: TrackingMode) -> str:
    """wandb's name of the mode. In auto mode WANDB_MODE decides, then whether there are credentials.

    Online without credentials would ask for a login or fail, so it becomes offline.
    """
    wanted = mode.name
    if mode is TrackingMode.auto:
        wanted = os.environ.get("WANDB_MODE") or ("online" if has_credentials() else "offline")
    if wanted in ("online", "run", "shared") and not has_credentials():
        log.warning("wandb has no credentials on this machine (WANDB_API_KEY or `wandb login`): the run is kept offline")
        return "offline"
    return wanted


def has_credentials() -> bool:
    """Whether wandb would find a key or a token without asking."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    configured = urlsplit(sdk.setup().settings.base_url).netloc
    return any(has_netrc_entry(host) for host in {configured, PUBLIC_HOST})


def has_netrc_entry(host: str) -> bool:
    """Whether the netrc file has a password for a server."""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        entry = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return False
    return entry is not None and bool(entry[2])


@contextmanager
def staging_in(folder: Path) -> Iterator[None]:
    """Makes wandb stage tables and artifacts in `folder`, not in the home folder, unless WANDB_DATA_DIR says where."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def start(tracking: TrackingConfig, content: Content, mode: str) -> sdk.Run:
    """Start a run in the mode wanted, or offline where going online fails. Other runs of the process are left alone."""
    settings = sdk.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_stats=True,
        init_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
    )
    arguments = {
        "project": tracking.project,
        "entity": tracking.entity,
        "group": tracking.group,
        "tags": tracking.tags,
        "name": content.name,
        "job_type": content.kind,
        "config": content.config,
        "dir": str(content.folder),
        "reinit": "create_new",
        "settings": settings,
    }
    try:
        return sdk.init(mode=mode, **arguments)
    except sdk.Error as error:
        if mode == "offline":
            raise
        log.warning("wandb could not go online, the run is kept offline: %s", str(error).partition("\n")[0])
        return sdk.init(mode="offline", **arguments)


def log_everything(run: sdk.Run, content: Content) -> None:
    """Log the series, the tables, the figures with their captions, and the files as one artifact."""
    for series in content.series:
        log_series(run, series)
    for name, table in content.tables.items():
        run.log({f"tables/{name}": wandb_table(table)})
    for stem, (path, caption) in content.figures.items():
        run.log({f"figures/{stem}": sdk.Image(str(path), caption=caption)})
    artifact = sdk.Artifact(content.artifact, type="results")
    for path in content.files:
        artifact.add_file(str(path))
    run.log_artifact(artifact)


def log_series(run: sdk.Run, series: Series) -> None:
    """Log the points of a series, and tell wandb what it is drawn over."""
    for axis in series.axes:
        run.define_metric(axis)
    for name in series.names if series.axes else ():
        run.define_metric(name, step_metric=series.axes[0])
    for point in series.points:
        run.log(point)


def wandb_table(table: pd.DataFrame) -> sdk.Table:
    """A table as wandb keeps it; what is missing is None."""
    cells = table.astype(object).where(table.notna(), None)
    return sdk.Table(columns=list(cells), data=cells.to_numpy().tolist(), allow_mixed_types=True)
