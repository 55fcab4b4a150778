"""What trackio keeps, read back from its database, is what the run folder holds; a stand-in shows it where trackio is not."""

import json
import sqlite3
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from run_folders import edit, write_job, write_run_folder

from lf_experiments.config.schema import TrackingConfig, TrackingMode
from lf_experiments.errors import InputError
from lf_experiments.figures.save import save_figures
from lf_experiments.runs.run import Run
from lf_experiments.sweep import write_sweep
from lf_experiments.tracking import load_tracker, log_run, log_sweep

CODES = ["en", "zh"]
MODULE = "lf_experiments.tracking.trackio"

STAND_IN = """
import json, os
from pathlib import Path
class Run:
    def __init__(self, **facts):
        self.lines = [facts | {"remote": os.environ.get("TRACKIO_SPACE_ID")}]
    def log(self, values, step=None):
        self.lines.append({"step": step, **{name: getattr(value, "kept", value) for name, value in values.items()}})
    def log_artifact(self, artifact):
        self.lines.append({"artifact": artifact.kept})
class Table:
    def __init__(self, dataframe):
        self.kept = dataframe.to_dict("records")
class Image:
    def __init__(self, path, caption):
        self.kept = [path, caption]
class Artifact:
    def __init__(self, name, type):
        self.kept = [name, type]
    def add_file(self, path):
        self.kept.append(Path(path).name)
def init(**facts):
    print("a banner")
    if facts["project"] == "broken":
        raise RuntimeError("no database")
    global current
    current = Run(**facts)
    return current
def finish():
    folder = Path(os.environ["TRACKIO_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kept.json").write_text(json.dumps(current.lines))
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_run_folder(tmp_path / "run", CODES)


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch) -> None:
    """Nothing in the environment says where a mirror goes."""
    for name in ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> None:
    """A module of the name of trackio that keeps what it is given in a JSON file."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "trackio.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)


def config(**changes: object) -> TrackingConfig:
    return TrackingConfig(**{"tracker": "trackio", "project": "lingua", "group": "night", "tags": ["nano"]} | changes)


def kept(folder: Path) -> list[dict]:
    return json.loads((folder / "trackio" / "kept.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("stand_in")
def test_a_run_is_kept_in_its_folder_with_its_numbers_over_steps(folder, capfd):
    edit(folder / "metrics.json", lrds_lo=0.2)
    save_figures(Run(folder))
    said = log_run(config(), Run(folder))
    assert said == f"trackio run bloom-nano step3000: TRACKIO_DIR={folder}/trackio trackio show --project lingua"
    facts, scores, *others = kept(folder)
    assert (facts["project"], facts["name"], facts["group"]) == ("lingua", "bloom-nano step3000", "night")
    assert facts["config"]["seed"] == 7 and facts["config"]["tags"] == ["nano"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert scores["step"] == metrics["training_step"]
    assert (scores["lrds"], scores["lrds_lo"], scores["perplexity/en"]) == (metrics["lrds"], 0.2, metrics["perplexity"]["en"])
    layers = [(point["step"], point["layers/sads"]) for point in others if "layers/sads" in point]
    assert layers == list(pd.read_csv(folder / "layers.csv")[["layer", "sads"]].itertuples(index=False, name=None))
    (cloze,) = [line["tables/cloze"] for line in others if "tables/cloze" in line]
    assert pd.DataFrame(cloze).equals(pd.read_csv(folder / "cloze.csv"))
    pictures = [line for line in others if any(name.startswith("figures/") for name in line)]
    assert len(pictures) == len(list((folder / "figures").glob("*.png")))
    assert others[-1]["artifact"][:2] == ["bloom-nano-step3000", "results"]
    assert {"samples.csv", "similarity.npy"} <= set(others[-1]["artifact"])
    assert "banner" not in capfd.readouterr().out


@pytest.mark.usefixtures("stand_in")
def test_runs_of_one_process_are_kept_apart(folder, tmp_path):
    other = write_run_folder(tmp_path / "other", CODES)
    edit(other / "metrics.json", model="another")
    for path in (folder, other):
        log_run(config(), Run(path))
    assert [kept(path)[0]["name"] for path in (folder, other)] == ["bloom-nano step3000", "another step3000"]


@pytest.mark.usefixtures("stand_in")
def test_it_goes_elsewhere_only_where_the_environment_says(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    log_run(config(mode=TrackingMode.offline), Run(folder))
    assert kept(folder)[0]["remote"] is None
    log_run(config(), Run(folder))
    assert kept(folder)[0]["remote"] == "me/space"
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "all"))
    log_run(config(), Run(folder))
    assert (tmp_path / "all" / "kept.json").is_file()


@pytest.mark.usefixtures("stand_in")
def test_a_mirror_that_fails_is_a_warning(folder, caplog):
    assert log_run(config(project="broken"), Run(folder)) is None
    assert "trackio could not mirror the run: no database" in caplog.text


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError) as error:
        load_tracker(config())
    assert str(error.value) == (
        "tracking=trackio: the package trackio is not installed\nRemedy: pip install 'lf_experiments[trackio]'"
    )


def rows(database: Path, query: str) -> list[tuple]:
    """What a query finds, by sqlite alone."""
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_the_real_trackio_keeps_numbers_tables_pictures_and_files(folder, monkeypatch, capfd):
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    save_figures(Run(folder))
    assert log_run(config(), Run(folder)) is not None
    assert capfd.readouterr().out == ""
    database = folder / "trackio" / "lingua.db"
    logged = [(step, json.loads(metrics)) for step, metrics in rows(database, "select step, metrics from metrics order by id")]
    assert logged[0][0] == 3000 and logged[0][1]["lrds"] == 0.2113
    layers = [(step, metrics["layers/lrds"]) for step, metrics in logged if "layers/lrds" in metrics]
    assert layers == list(pd.read_csv(folder / "layers.csv")[["layer", "lrds"]].itertuples(index=False, name=None))
    (table,) = [metrics["tables/regions"] for _, metrics in logged if "tables/regions" in metrics]
    assert table["_value"] == pd.read_csv(folder / "regions.csv").to_dict("records")
    pictures = [value for _, metrics in logged for name, value in metrics.items() if name.startswith("figures/")]
    assert len(pictures) == len(list((folder / "figures").glob("*.png")))
    assert (folder / "trackio" / "media" / pictures[0]["file_path"]).is_file()
    (settings,) = [json.loads(text) for (text,) in rows(database, "select config from configs")]
    assert settings["seed"] == 7 and settings["_Group"] == "night"
    ((manifest,),) = rows(database, "select manifest from artifact_versions")
    assert {"similarity.npy", "layers.csv"} <= {entry["path"] for entry in json.loads(manifest)}


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_the_real_trackio_keeps_the_series_of_a_sweep(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    for step in (0, 30):
        write_job(tmp_path / "sweep" / f"{step}", step, languages=CODES)
    sweep = write_sweep(tmp_path / "sweep")
    log_sweep(config(), sweep, tmp_path / "sweep", "steps", "steps")
    found = rows(tmp_path / "sweep" / "trackio" / "lingua.db", "select step, metrics from metrics order by id")
    series = [(step, json.loads(text)["by_step/sads"]) for step, text in found if "by_step/sads" in json.loads(text)]
    assert series == list(sweep.table[["training_step", "sads"]].itertuples(index=False, name=None))
