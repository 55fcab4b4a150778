"""What wandb keeps offline, read back, is what the run folder holds; without credentials nothing is asked."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import wandb
from run_folders import write_run_folder

from lf_experiments.config import Tracker, TrackingConfig, TrackingMode
from lf_experiments.results import tracking
from lf_experiments.results.figures import FIGURES, save_figures, stem
from lf_experiments.storage import write_json

CODES = ["en", "zh", "ar"]
KEY = "a" * 40


def config(mode: TrackingMode = TrackingMode.auto) -> TrackingConfig:
    return TrackingConfig(tracker=Tracker.wandb, mode=mode, project="lingua", group="night", tags=["nano", "test"])


def records(folder: Path) -> list[dict]:
    """Everything wandb wrote about the one run in `folder`."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.strip()]


def of_type(rows: list[dict], kind: str) -> list[dict]:
    return [row[kind] for row in rows if row["type"] == kind]


def edit(path: Path, **entries: object) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **entries})


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory) -> tuple[Path, str | None, list[dict]]:
    """A run folder with its figures, what `log_run` said, and what wandb wrote."""
    folder = write_run_folder(tmp_path_factory.mktemp("run"), CODES)
    save_figures(folder)
    said = tracking.log_run(config(), folder)
    return folder, said, records(folder)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run folder without figures."""
    return write_run_folder(tmp_path, CODES)


def test_without_credentials_the_run_is_kept_offline_in_its_folder(mirrored):
    folder, said, rows = mirrored
    (run,) = (folder / "wandb").glob("offline-run-*")
    assert said == f"wandb run bloom-nano step3000: offline in {run}"
    header = of_type(rows, "run")[0]
    assert (header["project"], header["run_group"], header["tags"]) == ("lingua", "night", ["nano", "test"])
    assert of_type(rows, "exit")[0].get("exit_code", 0) == 0


def test_the_configuration_is_that_of_the_run(mirrored):
    folder, _, rows = mirrored
    logged = of_type(rows, "run")[0]["config"]["update"]
    logged.pop("_wandb")
    assert logged == json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"]


def test_scalars_are_those_of_the_metrics_over_the_training_step(mirrored):
    folder, _, rows = mirrored
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    item = of_type(rows, "history")[0]["item"]
    for name in ("lrds", "sads", "sklr", "sklr_fraction", "num_parameters", "training_step"):
        assert item[name] == metrics[name]
    assert {code: item[f"perplexity/{code}"] for code in CODES} == metrics["perplexity"]
    axes = {
        metric["name"]: metric["step_metric"]
        for metric in of_type(rows, "metric")
        if "step_metric" in metric and "name" in metric
    }
    assert axes["lrds"] == axes["perplexity/ar"] == "training_step"


def test_layer_scores_are_a_series_over_layers(mirrored):
    folder, _, rows = mirrored
    items = [row["item"] for row in of_type(rows, "history") if "layer" in row["item"]]
    logged = pd.DataFrame([(item["layer"], item["layers/lrds"], item["layers/sads"]) for item in items])
    assert logged.to_numpy().tolist() == pd.read_csv(folder / "layers.csv").to_numpy().tolist()
    assert {"glob_name": "layers/*", "step_metric": "layer"}.items() <= of_type(rows, "metric")[-1].items()


@pytest.mark.parametrize("name", ["layers", "regions", "perplexity"])
def test_tables_are_those_of_the_run_folder(mirrored, name):
    folder, _, _ = mirrored
    (path,) = (folder / "wandb").glob(f"offline-run-*/files/media/table/tables/{name}_*.table.json")
    logged = json.loads(path.read_text(encoding="utf-8"))
    expected = pd.read_csv(folder / f"{name}.csv")
    assert logged["columns"] == list(expected.columns)
    assert logged["data"] == expected.to_numpy(dtype=object).tolist()


def test_images_are_the_figures(mirrored):
    folder, _, _ = mirrored
    for module in FIGURES:
        (path,) = (folder / "wandb").glob(f"offline-run-*/files/media/images/figures/{stem(module)}_*.png")
        assert path.read_bytes() == (folder / "figures" / f"{stem(module)}.png").read_bytes()


def test_no_tracker_leaves_nothing_and_imports_nothing(folder):
    code = (
        "import sys; from pathlib import Path; from lf_experiments.config import *\n"
        "from lf_experiments.results.tracking import log_run\n"
        f"assert log_run(TrackingConfig(tracker=Tracker.none), Path({str(folder)!r})) is None\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
    assert not (folder / "wandb").exists()


def test_a_run_with_few_files_is_mirrored_and_a_failed_one_is_marked(folder):
    for name in ("metrics.json", "layers.csv", "regions.csv", "perplexity.csv"):
        (folder / name).unlink()
    edit(folder / "run.json", status="failed", error="out of memory")

    assert tracking.log_run(config(TrackingMode.offline), folder) is not None

    rows = records(folder)
    assert of_type(rows, "run")[0]["display_name"] == folder.name
    assert of_type(rows, "exit")[0]["exit_code"] == 1
    assert not list((folder / "wandb").glob("offline-run-*/files/media"))


def test_what_was_not_measured_is_not_logged(folder):
    edit(folder / "metrics.json", lrds=None, training_step=None, perplexity={})
    tracking.log_run(config(TrackingMode.offline), folder)
    rows = records(folder)
    item = of_type(rows, "history")[0]["item"]
    assert item["sads"] == 0.0345
    assert not {"lrds", "training_step", "perplexity/en"} & set(item)


def test_another_run_of_the_process_goes_on(folder):
    with wandb.init(mode="offline", dir=folder / "other", settings=wandb.Settings(silent=True)) as other:
        tracking.log_run(config(TrackingMode.offline), folder)
        other.log({"still": 1})
        assert wandb.run is other


@pytest.mark.parametrize("mode", [TrackingMode.auto, TrackingMode.online])
def test_going_online_without_credentials_asks_nothing(folder, mode, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for a login"))
    with caplog.at_level(logging.WARNING):
        said = tracking.log_run(config(mode), folder)
    assert "offline in" in said
    assert "wandb has no credentials" in caplog.text


def test_a_server_that_cannot_be_reached_means_offline_and_a_warning(folder, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    init, modes = wandb.init, []

    def unreachable(mode: str, **arguments) -> wandb.Run:
        modes.append(mode)
        assert arguments["settings"].init_timeout == 30
        if mode == "online":
            raise wandb.errors.CommError("connection refused\nConsider increasing the timeout")
        return init(mode=mode, **arguments)

    monkeypatch.setattr(wandb, "init", unreachable)
    with caplog.at_level(logging.WARNING):
        said = tracking.log_run(config(), folder)
    assert modes == ["online", "offline"]
    assert "offline in" in said
    assert [record.getMessage() for record in caplog.records] == [
        "wandb could not go online, the run is kept offline: connection refused"
    ]


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        (TrackingMode.auto, {}, "offline"),
        (TrackingMode.auto, {"WANDB_API_KEY": ""}, "offline"),
        (TrackingMode.auto, {"WANDB_API_KEY": KEY}, "online"),
        (TrackingMode.auto, {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        (TrackingMode.auto, {"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, "disabled"),
        (TrackingMode.online, {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "online"),
        (TrackingMode.offline, {"WANDB_API_KEY": KEY, "WANDB_MODE": "online"}, "offline"),
    ],
)
def test_the_mode_follows_configuration_environment_and_credentials(mode, environment, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracking.chosen_mode(mode) == expected


def test_disabled_by_the_environment_leaves_nothing(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracking.log_run(config(), folder) is None
    assert not (folder / "wandb").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("machine api.wandb.ai login user password secret", True),
        ("machine example.org login user password secret", False),
        ("machine api.wandb.ai login", False),
        (None, False),
    ],
)
def test_credentials_in_the_netrc_file_are_found(tmp_path, monkeypatch, content, found):
    path = tmp_path / "netrc"
    if content is not None:
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert tracking.has_credentials() is found
