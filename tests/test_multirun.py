"""Sweeps: checked before they start, stopped by nothing, taken up where they stopped, and put side by side."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lf_experiments import __main__ as command
from lf_experiments.multirun import sweep_name

Run = Callable[..., tuple[int | str, Path]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def sweep(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a sweep of the smoke experiment in this process and in a folder of its own; returns its exit status and folder."""
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> tuple[int | str, Path]:
        arguments = ["--multirun", "experiment=smoke", "stages=[capture,compare,probe,report]", *overrides]
        monkeypatch.setattr(sys, "argv", ["lf_experiments", *arguments])
        status: int | str | None = 0
        try:
            command.main()
        except SystemExit as stopped:
            status = stopped.code
        return status, tmp_path / "multirun" / sweep_name(arguments)

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
    assert "checkpoint=glob(step*): without step100, step200" in capsys.readouterr().out


def test_a_glob_that_matches_no_published_step_is_an_error(sweep: Run) -> None:
    status, folder = sweep("checkpoint=glob(step15*)")
    assert "it matches no published step" in str(status)
    assert not folder.exists()


def test_a_sweep_is_named_after_what_it_does() -> None:
    name = sweep_name(["--multirun", "checkpoint=step0,final", "seed=1"])
    assert name.startswith("checkpoint=step0,final_seed=1-")
    assert sweep_name(["-m", "checkpoint=step0,final", "seed=1", "hydra/launcher=joblib"]) == name
    assert sweep_name(["--multirun", "checkpoint=step0,final", "seed=2"]) != name
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
