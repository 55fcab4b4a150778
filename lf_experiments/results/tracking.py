"""The mirror of a run or a sweep in Weights & Biases: the only module that imports wandb, and only when it mirrors."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lf_experiments.config import Tracker, TrackingConfig, TrackingMode
from lf_experiments.results.figures import FIGURES, SWEEP_FIGURES, saved_figures, stem
from lf_experiments.results.tables import MEASURES, line_names, measured, read_json, read_sweep, read_table

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd
    from wandb import Run, Table

log = logging.getLogger(__name__)

INIT_SECONDS = 30
"""How long wandb may take to start a run; then it is kept offline."""
FINISH_SECONDS = 300
"""How long an upload may take at the end; what is missing can be uploaded later."""
WANDB_HOST = "api.wandb.ai"

SCALARS = ("lrds", "sads", "sklr", "sklr_fraction", "num_parameters", "num_layers", "num_neurons")
TABLES = ("layers", "regions", "perplexity", "cloze", "generations")
TRAINING_AXES = ("training_step", "training_tokens")
"""What the scalars of a run can be drawn against, the first that is known by default."""
SWEEP_AXES = {"training_step": "by_step", "training_tokens": "by_tokens", "num_parameters": "by_parameters"}
"""The axes of a sweep's series, and the section of the dashboard that each has."""


def log_run(tracking: TrackingConfig, folder: Path) -> str | None:
    """Mirror a run folder; returns where it went, or None where nothing is tracked.

    wandb's own files go to `folder`/wandb. It never asks for a login: without credentials, or where going online fails, the
    run is kept offline, to be uploaded with `wandb sync`. A mirror that fails is a warning: the run itself is in its folder.
    """
    return mirrored(tracking, lambda mode: mirrored_run(tracking, folder, mode))


def log_sweep(tracking: TrackingConfig, folder: Path, name: str, group: str | None) -> str | None:
    """Mirror the result of a sweep, which `write_sweep` left in `folder`, as one more run beside those of its jobs.

    It holds the table, the figures, and every measure as a series over steps, tokens and parameters. `name` is
    the run's; `group` is that of the jobs. Where it goes, what it returns and what may fail are as with `log_run`.
    """
    return mirrored(tracking, lambda mode: mirrored_sweep(replace(tracking, group=group), folder, name, mode))


def mirrored(tracking: TrackingConfig, mirror: Callable[[str], str]) -> str | None:
    """Call `mirror` with one of wandb's modes, unless nothing is tracked."""
    if tracking.tracker is Tracker.none:
        return None
    import wandb

    mode = chosen_mode(tracking.mode)
    if mode == "disabled":
        return None
    try:
        return mirror(mode)
    except wandb.Error as error:
        log.warning("wandb could not mirror the run: %s", error)
        return None


def mirrored_run(tracking: TrackingConfig, folder: Path, mode: str) -> str:
    """Mirror a run folder in one of wandb's modes; returns where it went."""
    record = read_json(folder / "run.json")
    with staged_in(folder / "wandb"):
        run = started(tracking, folder, mode, name=run_name(folder), job_type="job", config=record["config"])
        log_scalars(run, folder)
        log_layers(run, folder)
        log_tables(run, folder)
        log_figures(run, folder, FIGURES)
        return finished(run, failed=record["status"] == "failed")


def mirrored_sweep(tracking: TrackingConfig, folder: Path, name: str, mode: str) -> str:
    """Mirror the result of a sweep in one of wandb's modes; returns where it went."""
    table = read_sweep(folder / "sweep.csv")
    config = {"sweep": name, "jobs": list(table["job"])}
    with staged_in(folder / "wandb"):
        run = started(tracking, folder, mode, name=name, job_type="sweep", config=config)
        log_series(run, table)
        log_sweep_table(run, table)
        log_figures(run, folder, SWEEP_FIGURES)
        return finished(run, failed=bool((table["status"] == "failed").any()))


def finished(run: Run, failed: bool) -> str:
    """End a run, marked where what it mirrors has failed; returns where it went."""
    where = f"offline in {Path(run.dir).parent}" if run.offline else run.url
    run.finish(exit_code=int(failed))
    return f"wandb run {run.name}: {where}"


@contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """Makes wandb stage tables in `folder`, not in the home folder, unless WANDB_DATA_DIR says where."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def chosen_mode(mode: TrackingMode) -> str:
    """wandb's name of the mode. In auto mode WANDB_MODE decides, then whether there are credentials.

    Online without credentials would ask for a login or fail, so it becomes offline.
    """
    wanted = mode.name
    if mode is TrackingMode.auto:
        wanted = os.environ["WANDB_MODE"] if os.environ.get("WANDB_MODE") else "online" if has_credentials() else "offline"
    if wanted in ("online", "run", "shared") and not has_credentials():
        log.warning("wandb has no credentials on this machine (WANDB_API_KEY or `wandb login`): the run is kept offline")
        return "offline"
    return wanted


def has_credentials() -> bool:
    """Whether wandb would find a key or a token without asking."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    return any(has_netrc_entry(host) for host in hosts())


def hosts() -> set[str]:
    """The servers whose netrc entries wandb takes: the configured one and the public one."""
    import wandb

    return {urlsplit(wandb.setup().settings.base_url).netloc, WANDB_HOST}


def has_netrc_entry(host: str) -> bool:
    """Whether the netrc file has a password for a server."""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        entry = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return False
    return entry is not None and bool(entry[2])


def started(tracking: TrackingConfig, folder: Path, mode: str, **facts: Any) -> Run:
    """A new wandb run in the mode wanted, or offline where going online fails. Other runs of the process are left alone.

    `facts` are wandb's arguments that say what is mirrored: its name, its type and its configuration.
    """
    import wandb

    settings = wandb.Settings(
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
        "dir": str(folder),
        "reinit": "create_new",
        "settings": settings,
        **facts,
    }
    try:
        return wandb.init(mode=mode, **arguments)
    except wandb.Error as error:
        if mode == "offline":
            raise
        log.warning("wandb could not go online, the run is kept offline: %s", str(error).partition("\n")[0])
        return wandb.init(mode="offline", **arguments)


def run_name(folder: Path) -> str:
    """Model and checkpoint, or the name of the folder of a run that came to no numbers."""
    path = folder / "metrics.json"
    if not path.exists():
        return folder.name
    metrics = read_json(path)
    return f"{metrics['model']} {metrics['checkpoint']}"


def log_scalars(run: Run, folder: Path) -> None:
    """The scalars of `metrics.json`, with the training step, or else the tokens read, as their axis where it is known."""
    if not (folder / "metrics.json").exists():
        return
    metrics = read_json(folder / "metrics.json")
    scalars = {name: metrics[name] for name in SCALARS}
    for measure in ("perplexity", "cloze_accuracy"):
        scalars |= {f"{measure}/{language}": value for language, value in metrics[measure].items()}
    scalars = {name: value for name, value in scalars.items() if value is not None}
    moment = {
        "training_step": metrics["training_step"],
        "training_tokens": read_json(folder / "run.json")["model"]["training_tokens"],
    }
    axes = {name: value for name, value in moment.items() if value is not None}
    for axis in axes:
        run.define_metric(axis)
    for name in scalars if axes else ():
        run.define_metric(name, step_metric=next(iter(axes)))
    run.log(scalars | axes)


def log_series(run: Run, table: pd.DataFrame) -> None:
    """Every measure of every finished run as a point over each axis that it has a value on; over parameters, final weights."""
    for axis, section in SWEEP_AXES.items():
        run.define_metric(axis)
        run.define_metric(f"{section}/*", step_metric=axis)
    lines = line_names(table)
    for line, row in zip(lines, measured(table).to_dict("records"), strict=True):
        values = {name: row[name] for name in MEASURES if row[name] == row[name]}
        for axis, section in SWEEP_AXES.items():
            if values and row[axis] == row[axis] and (axis != "num_parameters" or row["checkpoint"] == "final"):
                suffix = "" if axis == "num_parameters" or lines.nunique() == 1 else f" {line}"
                run.log({axis: row[axis], **{f"{section}/{name}{suffix}": value for name, value in values.items()}})


def log_sweep_table(run: Run, table: pd.DataFrame) -> None:
    """The table of the sweep, as it is in `sweep.csv`."""
    run.log({"tables/sweep": wandb_table(table)})


def log_layers(run: Run, folder: Path) -> None:
    """LRDS and SADS against the layer."""
    if not (folder / "layers.csv").exists():
        return
    run.define_metric("layer")
    run.define_metric("layers/*", step_metric="layer")
    for row in read_table(folder / "layers.csv").to_dict("records"):
        run.log({"layer": row["layer"], "layers/lrds": row["lrds"], "layers/sads": row["sads"]})


def log_tables(run: Run, folder: Path) -> None:
    """The tables, as they are in the run folder."""
    for name in TABLES:
        path = folder / f"{name}.csv"
        if path.exists():
            run.log({f"tables/{name}": wandb_table(read_table(path))})


def wandb_table(table: pd.DataFrame) -> Table:
    """A table as wandb keeps it; what is missing is None."""
    import wandb

    cells = table.astype(object).where(table.notna(), None)
    return wandb.Table(columns=list(cells), data=cells.to_numpy().tolist(), allow_mixed_types=True)


def log_figures(run: Run, folder: Path, modules: tuple[ModuleType, ...]) -> None:
    """The figures there are, with their captions."""
    import wandb

    for module, path in saved_figures(folder, modules):
        run.log({f"figures/{stem(module)}": wandb.Image(str(path), caption=module.CAPTION)})
