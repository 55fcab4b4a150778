"""Sweeps: checked before they start, stopped by nothing, taken up where they stopped, and put side by side."""

import itertools
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lf_experiments import __main__ as command
from lf_experiments import study
from lf_experiments.multirun import jobs_of_grids, sweep_name, telling_keys
from lf_experiments.neurons.capture import capture

Run = Callable[..., tuple[int | str, Path]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def typed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process and in a folder of its own; returns its exit status and the folder of its sweep."""
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int | str, Path]:
        monkeypatch.setattr(sys, "argv", ["lf_experiments", *arguments])
        status: int | str | None = 0
        try:
            command.main()
        except SystemExit as stopped:
            status = stopped.code
        return status, tmp_path / "multirun" / sweep_name(list(arguments))

    return run


@pytest.fixture
def sweep(typed: Run) -> Run:
    """Runs a sweep of the smoke experiment."""

    def run(*overrides: str) -> tuple[int | str, Path]:
        return typed("--multirun", "experiment=smoke", "stages=[capture,compare,probe,report]", *overrides)

    return run


def jobs(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/run.json"))


def written(folder: Path) -> dict[str, int]:
    """When every result of every job was last written, but the record."""
    files = [path for job in jobs(folder) for path in (folder / job).rglob("*") if path.is_file()]
    results = [path for path in files if path.suffix in (".csv", ".npy", ".parquet", ".png", ".html")]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in results}


def test_a_sweep_leaves_a_folder_per_job_and_one_table_of_all(sweep: Run) -> None:
    status, folder = sweep("checkpoint=step0,step30,final")
    assert status == 0
    table = pd.read_csv(folder / "sweep.csv", keep_default_na=False)
    assert table["status"].tolist() == ["done"] * 3
    assert table["training_step"].tolist() == [0, 30, 60]
    assert table["job"].tolist() == ["checkpoint=step0", "checkpoint=step30", "checkpoint=final"]
    for row in table.itertuples():
        metrics = json.loads((folder / row.job / "metrics.json").read_text())
        assert float(row.lrds) == metrics["lrds"]
        assert row.training_tokens == metrics["training_step"] * 4 * 64
    assert (folder / "report.html").is_file()
    assert (folder / "figures" / "figure4_training_dynamics.png").is_file()


def test_the_same_command_again_does_nothing_again(sweep: Run) -> None:
    _, folder = sweep("checkpoint=step0,step30")
    before = written(folder)
    status, again = sweep("checkpoint=step0,step30")
    assert (status, again) == (0, folder)
    assert written(folder) == before


def test_a_failing_job_does_not_stop_the_others(sweep: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, folder = sweep("dataset.sentences=500,12")
    assert status == 1
    table = pd.read_csv(folder / "sweep.csv", keep_default_na=False).set_index("status")
    assert sorted(table.index) == ["done", "failed"]
    assert "only 192 sentences" in table.loc["failed", "error"]
    assert "only 192 sentences" in capsys.readouterr().out
    assert (folder / "report.html").is_file()


def test_only_what_is_missing_is_run_again_after_an_unexpected_error(sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from lf_experiments.study import Study

    probe = Study.probe
    monkeypatch.setattr(Study, "probe", lambda study: 1 / 0 if study.config.seed == 1 else probe(study))
    status, folder = sweep("seed=0,1,2")
    assert status == 1
    table = pd.read_csv(folder / "sweep.csv", keep_default_na=False).set_index("seed")
    assert table["status"].to_dict() == {0: "done", 1: "failed", 2: "done"}
    assert "ZeroDivisionError" in table.loc[1, "error"]
    monkeypatch.setattr(Study, "probe", probe)
    before = written(folder)
    assert sweep("seed=0,1,2")[0] == 0
    after = written(folder)
    redone = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    assert len(redone) == 1
    assert "seed=1" in redone.pop()


def test_errors_of_any_job_surface_before_the_first_one_starts(sweep: Run) -> None:
    status, folder = sweep("checkpoint=step0,step1500")
    assert "checkpoint.step=1500: bloom-smoke never published this step" in str(status)
    assert jobs(folder) == []
    status, folder = sweep("probe.threshold=2.0,2.9")
    assert "probe.threshold=2.9: no z-score over 9 languages" in str(status)
    assert jobs(folder) == []


def test_a_glob_takes_the_published_steps_and_names_the_others(sweep: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, folder = sweep("checkpoint=glob(step*)")
    assert status == 0
    assert sorted(pd.read_csv(folder / "sweep.csv")["training_step"]) == [0, 30, 60]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoint=glob(step*): without ")]
    named = line.removeprefix("checkpoint=glob(step*): without ").removesuffix(", which the model has not published")
    options = {path.stem for path in (Path(__file__).parents[1] / "conf" / "checkpoint").glob("step*.yaml")}
    assert sorted(named.split(", ")) == sorted(options - {"step0", "step30", "step60"})


def test_a_glob_that_matches_no_published_step_is_an_error(sweep: Run) -> None:
    status, folder = sweep("checkpoint=glob(step15*)")
    assert "it matches no published step" in str(status)
    assert not folder.exists()


def test_a_sweep_is_named_after_what_it_does() -> None:
    name = sweep_name(["--multirun", "checkpoint=step0,final", "seed=1"])
    assert name.startswith("checkpoint=step0,final_seed=1-")
    assert sweep_name(["-m", "checkpoint=step0,final", "seed=1", "hydra/launcher=joblib"]) == name
    assert sweep_name(["--multirun", "checkpoint=step0,final", "seed=2"]) != name
    assert sweep_name(["-m", "hydra.sweeper.grids=[{seed:'0'}]"]) != sweep_name(["-m", "hydra.sweeper.grids=[{seed:'1'}]"])
    assert sweep_name(["experiment=nano_scale"]).startswith("nano_scale-")
    long = [f"dataset.root=/data/{'x' * 300}/{number}" for number in (1, 2)]
    assert len({sweep_name([root]) for root in long}) == 2
    assert all(len(sweep_name([root])) < 80 and "/" not in sweep_name([root]) for root in long)


def test_the_jobs_of_a_sweep_share_a_group_in_wandb(sweep: Run) -> None:
    status, folder = sweep("seed=0,1", "tracking=wandb", "stages=[capture,compare,report]")
    assert status == 0
    assert len(list(folder.glob("*/wandb/offline-run-*"))) == 2
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1


def test_a_sweep_whose_results_cannot_be_put_side_by_side_is_no_success(sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lf_experiments.results.sweep.write_sweep", lambda _: 1 / 0)
    status, folder = sweep("seed=0,1")
    assert status == 1
    assert jobs(folder) == ["seed=0", "seed=1"]


def test_the_command_line_wins_over_the_sweep_of_an_experiment(sweep: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - smoke\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      checkpoint: step0,step30\n      seed: 0,1\n"
    )
    arguments = ("experiment=mine", f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "stages=[capture]")
    status, folder = sweep(*arguments, "checkpoint=final,step30")
    assert status == 0
    assert jobs(folder) == [f"checkpoint={step},seed={seed}" for step in ("final", "step30") for seed in (0, 1)]


def test_a_misspelt_key_is_said_with_its_cause(sweep: Run) -> None:
    status, folder = sweep("dataset.sentence=3,4")
    assert "Could not override 'dataset.sentence'" in str(status)
    assert "Key 'sentence' not in 'DatasetConfig'" in str(status)
    assert jobs(folder) == []


# Experiments that are no single grid ------------------------------------------------------------------------------------

GRIDS = """
  - {seed: "0,1"}
  - {seed: "1"}
  - {checkpoint: "step0,step30", stages: "[capture]", cloze.regions: "false"}
  - {probe.threshold: "1.5"}
"""
"""The second is part of the first; the last reads what the first job reads."""


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[[str], tuple[str, str]]:
    """Writes an experiment with these grids; returns the arguments that run it."""

    def write(grids: str) -> tuple[str, str]:
        folder = tmp_path / "conf" / "experiment"
        folder.mkdir(parents=True)
        (folder / "grids.yaml").write_text(
            "# @package _global_\ndefaults:\n  - smoke\n  - override /hydra/sweeper: grids\n"
            f"stages: [capture, compare]\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    grids: {textwrap.indent(grids, '    ')}"
        )
        return f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=grids"

    return write


@pytest.mark.slow
def test_an_experiment_of_several_grids_runs_the_jobs_of_all_in_one_sweep(typed: Run, experiment: Callable) -> None:
    status, folder = typed(*experiment(GRIDS))
    assert status == 0
    assert jobs(folder) == ["checkpoint=step0", "checkpoint=step30", "probe.threshold=1.5", "seed=0", "seed=1"]
    assert [(folder / job / "layers.csv").exists() for job in jobs(folder)] == [False, False, True, True, True]
    table = pd.read_csv(folder / "sweep.csv", keep_default_na=False)
    assert table["status"].tolist() == ["done"] * 5
    assert sorted(table["training_step"]) == [0, 30, 60, 60, 60]


@pytest.fixture
def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what follows the jobs: the table, the figures and the report of the sweep."""
    monkeypatch.setattr("lf_experiments.multirun.put_side_by_side", lambda *_: True)


@pytest.mark.slow
@pytest.mark.usefixtures("no_table")
def test_several_grids_capture_nothing_twice_and_the_same_command_goes_on(
    typed: Run, experiment: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[int] = []
    monkeypatch.setattr(study, "capture", lambda *reading: captured.append(len(reading[1])) or capture(*reading))
    arguments = (*experiment(GRIDS), "dataset.sentences=11")
    _, folder = typed(*arguments)
    assert captured == [9 * 11] * 4  # two seeds and two steps; another threshold needs nothing new
    before = written(folder)
    assert len(before) == 2 + 3 * 3  # sentences of all jobs, map and scores of three
    assert typed(*arguments) == (0, folder)
    assert written(folder) == before
    assert len(captured) == 4


@pytest.mark.usefixtures("no_table")
def test_the_command_line_goes_with_every_grid_and_wins(typed: Run, experiment: Callable) -> None:
    status, folder = typed(*experiment(GRIDS), "++seed=2,3", "stages=[capture]")
    assert status == 0
    others = ("checkpoint=step0", "checkpoint=step30", "probe.threshold=1.5")
    expected = [f"++seed={seed}{other}" for seed in (2, 3) for other in ("", *(f",{other}" for other in others))]
    assert jobs(folder) == expected
    assert not list(folder.glob("*/layers.csv"))


@pytest.mark.usefixtures("no_table")
def test_grids_can_be_typed(sweep: Run) -> None:
    grids = "hydra.sweeper.grids=[{seed:'4,5'},{checkpoint:step0}]"
    status, folder = sweep("hydra/sweeper=grids", grids, "stages=[capture]")
    assert status == 0
    assert jobs(folder) == ["checkpoint=step0", "seed=4", "seed=5"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ('{checkpoint: "step30,step1500"}', "checkpoint.step=1500: bloom-smoke never published this step"),
        ('{probe.threshold: "2.9"}', "probe.threshold=2.9: no z-score over 9 languages"),
        ('{dataset.sentence: "3"}', "Key 'sentence' not in 'DatasetConfig'"),
        ('{model: "bloom-nano,bloom-giga"}', "Could not find 'model/bloom-giga'"),
        ("{checkpoint: [step0, step30]}", "'ListConfig' is incompatible with type hint '<class 'str'>'"),
        ("{seed: 1}", "Value 1 (int) is incompatible with type hint 'str'"),
    ],
)
def test_what_is_wrong_in_any_grid_is_said_before_the_first_job(
    typed: Run, experiment: Callable, grid: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, folder = typed(*experiment(f"{GRIDS}  - {grid}\n"))
    assert message in f"{status}{capsys.readouterr().err}"
    assert status != 0
    assert jobs(folder) == []


def test_the_jobs_of_grids_are_all_combinations_of_each_with_the_command_line() -> None:
    parser = OverridesParser.create()
    grids = [{"a": "1,2", "b": "x"}, {"a": "2", "c": "[p,q],[r]"}, {}, {"b": "x", "a": "2,3"}]
    given = {"seed": "0,1", "tracking": "none"}
    values = {"1,2": ["1", "2"], "[p,q],[r]": ["[p,q]", "[r]"], "2,3": ["2", "3"], "0,1": ["0", "1"]}
    expected = []
    for grid in grids:
        settings = {**grid, **given}
        for combination in itertools.product(*(values.get(value, [value]) for value in settings.values())):
            expected.append([f"{key}={value}" for key, value in zip(settings, combination, strict=True)])
    overrides = parser.parse_overrides([f"{key}={value}" for key, value in given.items()])
    assert jobs_of_grids(grids, overrides, parser) == expected
    assert jobs_of_grids([*grids, grids[0]], overrides, parser) == expected
    assert jobs_of_grids([{"a": "1,2,1"}], [], parser) == [["a=1"], ["a=2"]]


@pytest.mark.parametrize(
    ("grids", "keys"),
    [
        ([{"model": "a,b", "seed": "0,1", "tracking": "none"}], ["model", "seed"]),
        ([{"tracking": "none", "seed": "0,1"}], ["seed"]),
        (
            [{"model": "a"}, {"model": "a", "checkpoint": "s,t", "stages": "x"}, {"model": "b", "stages": "x"}],
            ["model", "checkpoint"],
        ),
        ([{"model": "a", "stages": "x"}, {"model": "a", "stages": "y"}], ["stages"]),
        ([{"tracking": "none"}, {"tracking": "none", "stages": "x"}], ["stages", "tracking"]),
        ([{"checkpoint": "s"}, {"seed": "1"}], ["checkpoint", "seed"]),
        ([{"tracking": "none", "seed": "0"}], ["tracking"]),
    ],
)
def test_the_folder_of_a_job_is_named_after_the_keys_that_tell_it_from_the_others(
    grids: list[dict[str, str]], keys: list[str]
) -> None:
    overrides = jobs_of_grids(grids, [], OverridesParser.create())
    values = [dict(override.split("=") for override in job) for job in overrides]
    assert telling_keys(values) == keys
    named = [tuple((key, job.get(key)) for key in keys) for job in values]
    assert len(set(named)) == len(values)
    assert all(any(value for _, value in name) for name in named)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_of_several_grids_run_with_a_launcher(launcher: str, typed: Run, experiment: Callable) -> None:
    arguments = experiment(GRIDS)
    _, basic = typed(*arguments)
    written_before = written(basic)
    found = subprocess.run(
        [sys.executable, "-m", "lf_experiments", *arguments, f"hydra/launcher={launcher}", "hydra.sweep.dir=other"],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert jobs(Path("other")) == jobs(basic)
    assert set(written(Path("other"))) == set(written_before)
