"""What wandb keeps offline, read back, is what the run folder holds; without credentials nothing is asked."""

import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import wandb
from run_folders import edit, fail, write_job, write_run_folder

from lf_experiments.config.schema import TrackingConfig, TrackingMode
from lf_experiments.errors import InputError
from lf_experiments.figures.catalogue import FIGURES, SWEEP_FIGURES
from lf_experiments.figures.save import save_figures, saved_figures
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import SCORES
from lf_experiments.sweep import write_sweep
from lf_experiments.tracking import _content, load_tracker, log_run, log_sweep
from lf_experiments.tracking.wandb import chosen_mode, has_credentials

CODES = ["en", "zh", "ar"]
KEY = "a" * 40


def config(mode: TrackingMode = TrackingMode.auto) -> TrackingConfig:
    return TrackingConfig(tracker="wandb", mode=mode, project="lingua", group="night", tags=["nano", "test"])


def records(folder: Path) -> list[dict]:
    """Everything wandb wrote about the one run in `folder`."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.strip()]


def of_type(rows: list[dict], kind: str) -> list[dict]:
    return [row[kind] for row in rows if row["type"] == kind]


def step_metrics(rows: list[dict]) -> dict[str, str]:
    """The axis of every metric, or group of metrics, that has one."""
    metrics = [metric for metric in of_type(rows, "metric") if "step_metric" in metric]
    return {metric.get("name", metric.get("glob_name")): metric["step_metric"] for metric in metrics}


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory) -> tuple[Path, str | None, list[dict]]:
    """A run folder with its figures, what `log_run` said, and what wandb wrote."""
    folder = write_run_folder(tmp_path_factory.mktemp("run"), CODES)
    save_figures(Run(folder))
    said = log_run(config(), Run(folder))
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
    assert header["job_type"] == "job"
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
    for measure in ("perplexity", "cloze_accuracy"):
        assert {code: item[f"{measure}/{code}"] for code in CODES} == metrics[measure]
    assert item["training_tokens"] == 6144000
    axes = step_metrics(rows)
    assert axes["lrds"] == axes["perplexity/ar"] == axes["cloze_accuracy/ar"] == "training_step"
    assert "training_tokens" in {metric.get("name") for metric in of_type(rows, "metric")}


def test_layer_scores_are_a_series_over_layers(mirrored):
    folder, _, rows = mirrored
    items = [row["item"] for row in of_type(rows, "history") if "layer" in row["item"]]
    logged = pd.DataFrame([(item["layer"], item["layers/lrds"], item["layers/sads"]) for item in items])
    assert logged.to_numpy().tolist() == pd.read_csv(folder / "layers.csv").to_numpy().tolist()
    assert {"glob_name": "layers/*", "step_metric": "layer"}.items() <= of_type(rows, "metric")[-1].items()


@pytest.mark.parametrize("name", ["layers", "pairs", "regions", "perplexity", "cloze", "generations"])
def test_tables_are_those_of_the_run_folder(mirrored, name):
    folder, _, _ = mirrored
    (path,) = (folder / "wandb").glob(f"offline-run-*/files/media/table/tables/{name}_*.table.json")
    logged = json.loads(path.read_text(encoding="utf-8"))
    expected = pd.read_csv(folder / f"{name}.csv").astype(object)
    assert logged["columns"] == list(expected.columns)
    assert logged["data"] == expected.where(expected.notna(), None).to_numpy().tolist()
    assert (None in sum(logged["data"], [])) is (name == "generations")


def test_images_are_the_figures(mirrored):
    folder, _, _ = mirrored
    for figure in FIGURES:
        (path,) = (folder / "wandb").glob(f"offline-run-*/files/media/images/figures/{figure.stem}_*.png")
        assert path.read_bytes() == (folder / "figures" / f"{figure.stem}.png").read_bytes()


def test_no_tracker_leaves_nothing_and_imports_nothing(folder):
    code = (
        "import sys; from pathlib import Path; from lf_experiments.config.schema import TrackingConfig\n"
        "from lf_experiments.runs.run import Run; from lf_experiments.tracking import log_run\n"
        f"assert log_run(TrackingConfig(tracker='none'), Run({str(folder)!r})) is None\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
    assert not (folder / "wandb").exists()


def test_a_run_with_few_files_is_mirrored_and_a_failed_one_is_marked(folder):
    for path in [folder / "metrics.json", *folder.glob("*.csv")]:
        path.unlink()
    edit(folder / "run.json", status="failed", error="out of memory")

    assert log_run(config(TrackingMode.offline), Run(folder)) is not None

    rows = records(folder)
    assert of_type(rows, "run")[0]["display_name"] == folder.name
    assert of_type(rows, "exit")[0]["exit_code"] == 1
    assert not list((folder / "wandb").glob("offline-run-*/files/media"))


def test_what_was_not_measured_is_not_logged(folder):
    edit(folder / "metrics.json", lrds=None, training_step=None, perplexity={}, cloze_accuracy={})
    log_run(config(TrackingMode.offline), Run(folder))
    rows = records(folder)
    item = of_type(rows, "history")[0]["item"]
    assert item["sads"] == 0.0345
    assert not {"lrds", "training_step", "perplexity/en", "cloze_accuracy/en"} & set(item)


def test_a_run_whose_step_is_unknown_is_shown_over_its_tokens(folder):
    edit(folder / "metrics.json", training_step=None)
    log_run(config(TrackingMode.offline), Run(folder))
    rows = records(folder)
    assert of_type(rows, "history")[0]["item"]["training_tokens"] == 6144000
    assert step_metrics(rows)["lrds"] == "training_tokens"


def test_a_run_whose_moment_is_unknown_has_no_axis(folder):
    edit(folder / "metrics.json", training_step=None)
    model = json.loads((folder / "run.json").read_text(encoding="utf-8"))["model"]
    edit(folder / "run.json", model={**model, "training_tokens": None})
    log_run(config(TrackingMode.offline), Run(folder))
    rows = records(folder)
    assert "training_tokens" not in of_type(rows, "history")[0]["item"]
    assert set(step_metrics(rows)) == {"layers/*"}


def test_another_run_of_the_process_goes_on(folder):
    with wandb.init(mode="offline", dir=folder / "other", settings=wandb.Settings(silent=True)) as other:
        log_run(config(TrackingMode.offline), Run(folder))
        other.log({"still": 1})
        assert wandb.run is other


@pytest.mark.parametrize("mode", [TrackingMode.auto, TrackingMode.online])
def test_going_online_without_credentials_asks_nothing(folder, mode, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for a login"))
    with caplog.at_level(logging.WARNING):
        said = log_run(config(mode), Run(folder))
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
        said = log_run(config(), Run(folder))
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
    assert chosen_mode(mode) == expected


def test_intervals_are_logged_beside_the_scores_that_have_them(folder):
    intervals = {"lrds_lo": 0.2, "lrds_hi": 0.22, "perplexity_lo": {"en": 13.0, "ar": 14.0}}
    edit(folder / "metrics.json", **intervals)
    layers = pd.read_csv(folder / "layers.csv")
    layers.assign(lrds_lo=0.1, lrds_hi=[0.5, None, 0.6]).to_csv(folder / "layers.csv", index=False)
    log_run(config(TrackingMode.offline), Run(folder))
    rows = records(folder)
    items = [row["item"] for row in of_type(rows, "history")]
    logged = {name: items[0][name] for name in ("lrds_lo", "lrds_hi", "perplexity_lo/en", "perplexity_lo/ar")}
    assert logged == {"lrds_lo": 0.2, "lrds_hi": 0.22, "perplexity_lo/en": 13.0, "perplexity_lo/ar": 14.0}
    assert step_metrics(rows)["lrds_lo"] == "training_step"
    assert "sads_lo" not in items[0]
    assert [item.get("layers/lrds_hi") for item in items if "layer" in item] == [0.5, None, 0.6]


def test_whatever_score_there_is_is_logged(folder, monkeypatch):
    another = replace(SCORES[0], key="another")
    monkeypatch.setattr(_content, "SCORES", (*SCORES, another))
    edit(folder / "metrics.json", another=0.75)
    log_run(config(TrackingMode.offline), Run(folder))
    assert of_type(records(folder), "history")[0]["item"]["another"] == 0.75


def artifacts(folder: Path) -> list[dict]:
    """The artifacts of results; wandb makes one of each of its tables too."""
    return [artifact for artifact in of_type(records(folder), "artifact") if artifact["type"] == "results"]


def test_tables_regions_map_and_report_are_one_artifact(folder):
    pd.DataFrame({"language": ["en"], "layer": [0], "neuron": [1]}).to_parquet(folder / "key_neurons.parquet")
    (folder / "report.html").write_text("<p>", encoding="utf-8")
    log_run(config(TrackingMode.offline), Run(folder))
    (artifact,) = artifacts(folder)
    assert artifact["name"] == "bloom-nano-step3000"
    names = {entry["path"] for entry in artifact["manifest"]["contents"]}
    assert names == {
        *(f"{name}.csv" for name in ("samples", "layers", "pairs", "regions", "perplexity", "cloze", "generations")),
        "key_neurons.parquet",
        "similarity.npy",
        "layer_maps.npy",
        "neurons.parquet",
        "doses.csv",
        "report.html",
    }


def test_a_name_that_no_artifact_may_have_is_made_one(folder):
    edit(folder / "metrics.json", model="мой/model: 7B" + "x" * 200)
    assert log_run(config(TrackingMode.offline), Run(folder)) is not None
    (artifact,) = artifacts(folder)
    assert re.fullmatch(r"[\w.-]{1,100}", artifact["name"]) and "model-7Bx" in artifact["name"]


@pytest.mark.parametrize(
    "wrong",
    [{"tags": ["", "a"]}, {"project": "a/b:c"}, {"tags": ["x" * 500]}],
    ids=["an empty tag", "a bad project", "a long tag"],
)
def test_what_wandb_refuses_is_a_warning(folder, wrong, caplog):
    with caplog.at_level(logging.WARNING):
        assert log_run(replace(config(TrackingMode.offline), **wrong), Run(folder)) is None
    (record,) = caplog.records
    assert record.getMessage().startswith("wandb could not mirror the run: ")


def test_a_mirror_that_breaks_off_ends_its_run_as_failed(folder, monkeypatch, caplog):
    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(wandb, "Table", full)
    with caplog.at_level(logging.WARNING):
        assert log_run(config(TrackingMode.offline), Run(folder)) is None
    assert "wandb could not mirror the run: no space" in caplog.text
    assert of_type(records(folder), "exit")[0]["exit_code"] == 1


def test_a_tracker_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="=mlflow: there is none of this name\nRemedy: choose among none, .*wandb"):
        load_tracker(TrackingConfig(tracker="mlflow"))


def test_a_tracker_of_ones_own_is_a_function_anywhere(folder, tmp_path, monkeypatch):
    (tmp_path / "ours.py").write_text("def keep(tracking, content):\n    return f'{tracking.project}: {content.name}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert log_run(TrackingConfig(tracker="ours:keep", project="p"), Run(folder)) == "p: bloom-nano step3000"


def test_disabled_by_the_environment_leaves_nothing(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert log_run(config(), Run(folder)) is None
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
    assert has_credentials() is found


@pytest.fixture(scope="module")
def mirrored_sweep(tmp_path_factory) -> tuple[Path, pd.DataFrame, str | None, list[dict]]:
    """A sweep with a failed run and final weights, its table, what `log_sweep` said, and what wandb wrote."""
    folder = tmp_path_factory.mktemp("sweep")
    for number, step in enumerate((0, 30, 100, None)):
        write_job(folder / f"{number}", step, languages=CODES)
    fail(folder / "1", "out of memory")
    sweep = write_sweep(folder)
    said = log_sweep(config(), sweep, folder, "nano training", "steps")
    return folder, sweep.table, said, records(folder)


def test_a_sweep_is_a_run_of_its_own_in_the_group_of_its_jobs(mirrored_sweep):
    folder, _, said, rows = mirrored_sweep
    (run,) = (folder / "wandb").glob("offline-run-*")
    assert said == f"wandb run nano training: offline in {run}"
    header = of_type(rows, "run")[0]
    assert (header["display_name"], header["run_group"], header["job_type"]) == ("nano training", "steps", "sweep")
    assert header["config"]["update"]["jobs"] == ["0", "1", "2", "3"]
    assert of_type(rows, "exit")[0]["exit_code"] == 1


def test_the_measures_of_a_sweep_are_series_over_steps_tokens_and_parameters(mirrored_sweep):
    _, table, _, rows = mirrored_sweep
    sections = {"by_step": "training_step", "by_tokens": "training_tokens", "by_parameters": "num_parameters"}
    assert step_metrics(rows) == {f"{section}/*": axis for section, axis in sections.items()}
    done = table[table["status"] == "done"]
    expected = {
        "by_step": done[done["training_step"].notna()],
        "by_tokens": done[done["training_tokens"].notna()],
        "by_parameters": done[done["checkpoint"] == "final"],
    }
    items = [row["item"] for row in of_type(rows, "history")]
    for section, points in expected.items():
        for name in ("lrds", "sads", "sklr", "sklr_fraction", "perplexity_mean"):
            logged = [(item[sections[section]], item[f"{section}/{name}"]) for item in items if f"{section}/{name}" in item]
            assert logged == list(zip(points[sections[section]], points[name], strict=True))
    assert not any("cloze_accuracy_mean" in key for item in items for key in item)


def test_the_table_and_the_figures_of_a_sweep_are_there(mirrored_sweep):
    folder, table, _, _ = mirrored_sweep
    (path,) = (folder / "wandb").glob("offline-run-*/files/media/table/tables/sweep_*.table.json")
    logged = json.loads(path.read_text(encoding="utf-8"))
    assert logged["columns"] == list(table.columns)
    for cells, (_, row) in zip(logged["data"], table.iterrows(), strict=True):
        for name, cell in zip(logged["columns"], cells, strict=True):
            assert cell is None if pd.isna(row[name]) else cell == row[name]
    figures = [figure for figure, _ in saved_figures(folder, SWEEP_FIGURES)]
    stems = {figure.stem for figure in figures}
    assert {"figure4_training_dynamics", "figure2_similarity_map", "table1_deactivation"} <= stems
    for figure in figures:
        (path,) = (folder / "wandb").glob(f"offline-run-*/files/media/images/figures/{figure.stem}_*.png")
        assert path.read_bytes() == (folder / "figures" / f"{figure.stem}.png").read_bytes()


def test_models_of_a_sweep_are_series_of_their_own(tmp_path):
    for model, parameters in (("small", 10), ("large", 1000)):
        write_job(tmp_path / model, 30, model, parameters, languages=CODES)
    sweep = write_sweep(tmp_path)
    assert log_sweep(config(TrackingMode.offline), sweep, tmp_path, "scales", None) is not None
    rows = records(tmp_path)
    keys = {key for row in of_type(rows, "history") for key in row["item"]}
    assert {"by_step/lrds small", "by_step/lrds large"} <= keys
    assert not any(key.startswith("by_parameters") for key in keys)
    assert of_type(rows, "run")[0].get("run_group", "") == ""
    assert of_type(rows, "exit")[0].get("exit_code", 0) == 0


def test_a_sweep_that_is_not_tracked_leaves_nothing(tmp_path, monkeypatch):
    write_job(tmp_path / "0", 0, languages=CODES)
    sweep = write_sweep(tmp_path)
    assert log_sweep(TrackingConfig(tracker="none"), sweep, tmp_path, "quiet", None) is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert log_sweep(config(), sweep, tmp_path, "quiet", None) is None
    assert not (tmp_path / "wandb").exists()


def test_a_sweep_that_cannot_be_mirrored_is_a_warning(tmp_path, monkeypatch, caplog):
    write_job(tmp_path / "0", 0, languages=CODES)
    sweep = write_sweep(tmp_path)

    def broken(**_: object) -> None:
        raise wandb.errors.CommError("no service")

    monkeypatch.setattr(wandb, "init", broken)
    with caplog.at_level(logging.WARNING):
        assert log_sweep(config(), sweep, tmp_path, "broken", None) is None
    assert "wandb could not mirror the run: no service" in caplog.text
