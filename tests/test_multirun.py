"""Sweeps: checked before they start, stopped by nothing, taken up where they stopped, and put side by side."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from lf_experiments import __main__ as command
from lf_experiments.config.resolvers import IS_OMEGACONF_2_3
from lf_experiments.errors import InputError
from lf_experiments.figures import figure4_training_dynamics, figure6_key_neurons_by_language
from lf_experiments.multirun.jobs import jobs_of, merged, sweep_jobs
from lf_experiments.multirun.names import job_names, sweep_name, telling_keys
from lf_experiments.multirun.sweep import MANY_JOBS
from lf_experiments.neurons.capture import capture_sentences
from lf_experiments.study import bench

Run = Callable[..., tuple[int | str, Path]]

pytestmark = pytest.mark.usefixtures("blank_pictures")


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


@pytest.fixture(autouse=True)
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composes one figure of a run and one of a sweep: to draw all takes most of the time, and has tests of its own."""
    monkeypatch.setattr("lf_experiments.study.report.FIGURES", (figure6_key_neurons_by_language.FIGURE,))
    monkeypatch.setattr("lf_experiments.figures.save.SWEEP_FIGURES", (figure4_training_dynamics.FIGURE,))


@pytest.fixture
def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what follows the jobs: the table, the figures and the report of the sweep."""
    monkeypatch.setattr("lf_experiments.multirun.sweep.put_side_by_side", lambda *_: True)


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
    from lf_experiments.study.probe import Probe

    run, seeds = Probe.run, iter([0, 1, 2])
    monkeypatch.setattr(Probe, "run", lambda stage, bench: 1 / 0 if next(seeds) == 1 else run(stage, bench))
    status, folder = sweep("seed=0,1,2")
    assert status == 1
    table = pd.read_csv(folder / "sweep.csv", keep_default_na=False).set_index("seed")
    assert table["status"].to_dict() == {0: "done", 1: "failed", 2: "done"}
    assert "ZeroDivisionError" in table.loc[1, "error"]
    monkeypatch.setattr(Probe, "run", run)
    before = written(folder)
    assert sweep("seed=0,1,2")[0] == 0
    after = written(folder)
    redone = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    assert len(redone) == 1
    assert "seed=1" in redone.pop()


def test_a_sweep_that_a_signal_stops_says_so_and_goes_on(
    sweep: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lf_experiments.study.probe import Probe

    run, seeds = Probe.run, iter([0, 1, 2])

    def run_or_stop(stage: Probe, on: bench.Bench) -> dict[str, float]:
        if next(seeds) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return run(stage, on)

    monkeypatch.setattr(Probe, "run", run_or_stop)
    status, folder = sweep("seed=0,1,2")
    assert status == 143
    assert capsys.readouterr().err.strip().splitlines()[-1] == "stopped; the same command goes on"
    table = pd.read_csv(folder / "sweep.csv", keep_default_na=False).set_index("seed")
    assert table["status"].to_dict() == {0: "done", 1: "failed"}
    assert table.loc[1, "error"] == "Stopped: by SIGTERM; the same command goes on"
    monkeypatch.setattr(Probe, "run", run)
    assert sweep("seed=0,1,2") == (0, folder)
    assert pd.read_csv(folder / "sweep.csv")["status"].tolist() == ["done"] * 3


def test_errors_of_any_job_surface_before_the_first_one_starts(sweep: Run) -> None:
    status, folder = sweep("checkpoint=step0,step1500")
    assert "checkpoint.step=1500: bloom-smoke never published this step" in str(status)
    assert jobs(folder) == []
    status, folder = sweep("probe.threshold=2.0,2.9")
    assert "probe.threshold=2.9: no z-score over 9 languages" in str(status)
    assert jobs(folder) == []
    status, folder = sweep("dataset=miniature,files")
    assert "dataset.root=null: the folder with one <code>.txt per language is missing" in str(status)
    assert jobs(folder) == []


def test_a_glob_takes_the_published_steps_and_is_silent_of_other_models(sweep: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, folder = sweep("checkpoint=glob(step*)")
    assert status == 0
    assert sorted(pd.read_csv(folder / "sweep.csv")["training_step"]) == [0, 30, 60]
    assert "without" not in capsys.readouterr().out


def test_a_glob_that_matches_no_published_step_is_an_error(sweep: Run) -> None:
    status, folder = sweep("checkpoint=glob(step15*)")
    assert "checkpoint=glob(step15*): it matches no published step of every model" in str(status)
    assert "bloom-smoke has 0, 30, 60" in str(status)
    assert not folder.exists()


def jobs_of_command(*overrides: str) -> list[list[str]]:
    """The jobs of a command with --multirun, without running them."""
    with initialize_config_dir(command.configuration_folder(), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
        return sweep_jobs(config, list(config.hydra.overrides.task), loader)


def steps_of_command(*overrides: str) -> list[str]:
    chosen = [override for job in jobs_of_command(*overrides) for override in job if override.startswith("checkpoint=")]
    return [override.removeprefix("checkpoint=") for override in dict.fromkeys(chosen)]


PYTHIA = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143_001, 1000)]


def test_a_glob_takes_every_published_step_in_the_order_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert steps_of_command("model=pythia-1b", "checkpoint=glob(step*)") == [f"step{step}" for step in PYTHIA]
    assert steps_of_command("model=pythia-1b", "checkpoint=glob(*,exclude=step*)") == ["final"]
    assert steps_of_command("model=pythia-1b", "checkpoint=glob([step14?000,step?])") == [
        *["step0", "step1", "step2", "step4", "step8"], *[f"step{step}" for step in range(140_000, 143_001, 1000)],
    ]  # fmt: skip
    assert capsys.readouterr().out == ""


def test_a_glob_over_several_models_takes_the_steps_of_all_and_names_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    found = steps_of_command("model=bloom-560m,bloom-7b1", "checkpoint=glob(step*)")
    assert found == ["step1000", "step10000", "step100000", "step200000", "step300000"]
    assert capsys.readouterr().out == (
        "checkpoint=glob(step*): without 50000, 150000, 250000, 400000, 500000, 600000, "
        "which not all models of the sweep have published\n"
    )
    with pytest.raises(InputError, match="no published step of every model\nRemedy: .*bloom-3b has 1000.*llama2-7b has none"):
        steps_of_command("model=bloom-3b,llama2-7b", "checkpoint=glob(step*)")


def test_a_glob_in_a_grid_is_of_the_models_of_that_grid() -> None:
    grids = "hydra.sweeper.grids=[{model:llama2-7b},{model:bloom-nano,checkpoint:'glob(step?)'}]"
    assert jobs_of_command(grids) == [["model=llama2-7b"], ["model=bloom-nano", "checkpoint=step0"]]


def test_the_recipe_on_the_command_line_decides_what_a_glob_matches() -> None:
    assert steps_of_command("model.recipe.steps=[5,7]", "checkpoint=glob(step*)", "seed=0,1") == ["step5", "step7"]


def test_an_interval_is_no_list_of_values() -> None:
    with pytest.raises(InputError, match="seed=interval.*an interval has no list of values\nRemedy: give values") as error:
        jobs_of_command("seed=interval(0,1)")
    assert "range(1,9)" in str(error.value)


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


def test_a_sweep_is_named_after_its_configuration_folders_too() -> None:
    assert sweep_name(["-m", "seed=1", "hydra.searchpath=[file:///a]"]) != sweep_name(["-m", "seed=1", "hydra.searchpath=[b]"])
    assert sweep_name(["-m", "--config-dir=a", "seed=1"]) != sweep_name(["-m", "--config-dir=b", "seed=1"])
    assert sweep_name(["seed=1", "--multirun", "hydra.sweep.dir=x"]) == sweep_name(["-m", "seed=1"])
    assert len(sweep_name(["model.name=" + "語" * 300]).encode()) < 80


def test_the_folders_of_jobs_stay_in_the_sweep_whatever_the_values() -> None:
    values = [
        "../../../data/a",
        "../../../data/b",
        "/x/y",
        "a b",
        "a_b",
        "..",
        "x" * 300,
        "x" * 301,
        "語" * 200,
        "[en,fr]",
        "ok-1.5",
    ]
    names = job_names([[f"dataset.root={value}", "seed=0"] for value in values])
    assert len(set(names)) == len(names)
    for name in names:
        assert name.startswith("dataset.root=")
        assert len(name.encode()) <= 110
        assert Path("sweep", name).resolve().parent == Path("sweep").resolve()
    assert names[-1] == "dataset.root=ok-1.5"
    assert job_names([[]]) == ["job"]


@pytest.mark.usefixtures("no_table")
def test_a_sweep_over_relative_folders_writes_into_its_own_folder_alone(sweep: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for code in ("en", "fr", "zh", "ar", "hi", "vi"):
            (tmp_path / "data" / name / f"{code}.txt").write_text("\n".join(f"{name} {code} {line}" for line in range(12)))
    before = sorted((tmp_path / "data").rglob("*"))
    folders = ("dataset=files", "language_set.languages=[en,fr,zh,ar,hi,vi]", "dataset.root=data/../data/a,data/../data/b")
    status, folder = sweep(*folders, "stages=[capture]")
    assert status == 0
    assert len(jobs(folder)) == 2
    assert {path.name for path in (tmp_path / "multirun").iterdir()} == {folder.name}
    assert sorted((tmp_path / "data").rglob("*")) == before


@pytest.mark.usefixtures("no_table")
def test_a_folder_name_given_by_the_user_is_kept(sweep: Run) -> None:
    _, folder = sweep("seed=0,1", "stages=[capture]", "hydra.sweep.subdir=number${seed}")
    assert jobs(folder) == ["number0", "number1"]


@pytest.mark.usefixtures("no_table")
def test_flags_may_stand_between_overrides(typed: Run) -> None:
    status, folder = typed("experiment=smoke", "--multirun", "stages=[capture]", "seed=0,1")
    assert status == 0
    assert jobs(folder) == ["seed=0", "seed=1"]


def test_a_launcher_that_is_not_installed_is_said_with_the_command_that_installs_it(
    typed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lf_experiments.multirun.launchers.find_spec", lambda _: None)
    for launcher in ("joblib", "submitit_slurm", "slurm_gpu"):
        status, folder = typed("--multirun", "experiment=smoke", "seed=0,1", f"hydra/launcher={launcher}")
        assert status == (
            f"error: hydra/launcher={launcher}: it is not installed\nRemedy: pip install 'lf_experiments[launchers]'"
        )
        assert not folder.exists()


def test_the_jobs_that_are_done_stand_side_by_side_when_a_sweep_is_stopped(
    sweep: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lf_experiments.study.probe import Probe

    run, seeds = Probe.run, iter([0, 1])

    def stopped(stage: Probe, bench: bench.Bench) -> dict[str, float]:
        if next(seeds) == 1:
            raise KeyboardInterrupt
        return run(stage, bench)

    monkeypatch.setattr(Probe, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep("seed=0,1,2", "tracking=wandb")
    (table,) = (tmp_path / "multirun").glob("*/sweep.csv")
    assert pd.read_csv(table)["status"].tolist() == ["done", "failed"]
    assert not (table.parent / "wandb").exists()


def test_many_jobs_are_checked_behind_a_progress_bar(sweep: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = sweep(f"seed=range(0,{MANY_JOBS - 1})", "probe.threshold=9")
    assert "no z-score" in str(status)
    assert "checking" not in capsys.readouterr().err
    status, _ = sweep(f"seed=range(0,{MANY_JOBS})", "probe.threshold=9")
    assert "no z-score" in str(status)
    assert "checking" in capsys.readouterr().err


def test_the_jobs_of_a_sweep_share_a_group_in_wandb(sweep: Run) -> None:
    status, folder = sweep("seed=0,1", "tracking=wandb", "stages=[capture,compare,report]")
    assert status == 0
    assert len(list(folder.glob("*/wandb/offline-run-*"))) == 2
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1


def test_a_sweep_whose_results_cannot_be_put_side_by_side_is_no_success(sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lf_experiments.sweep.write_sweep", lambda _: 1 / 0)
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


@pytest.mark.slow
@pytest.mark.usefixtures("no_table")
def test_several_grids_capture_nothing_twice_and_the_same_command_goes_on(
    typed: Run, experiment: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[int] = []

    def counted(reader, sentences, *how):
        captured.append(sum(map(len, sentences.texts.values())))
        return capture_sentences(reader, sentences, *how)

    monkeypatch.setattr(bench, "capture_sentences", counted)
    arguments = (*experiment(GRIDS), "dataset.sentences=11")
    _, folder = typed(*arguments)
    assert captured == [9 * 11] * 4  # two seeds and two steps; another threshold needs nothing new
    before = written(folder)
    compared = ["contributions.parquet", "influence.parquet", "layer_maps.npy", "layers.csv", "pairs.csv", "similarity.npy"]
    by_job = [sorted(Path(name).name for name in before if Path(name).parent.name == job) for job in jobs(folder)]
    assert by_job == [["samples.csv"]] * 2 + [[*compared[:5], "samples.csv", "similarity.npy"]] * 3
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
        pytest.param(
            "{seed: 1}",
            "Value 1 (int) is incompatible with type hint 'str'",
            marks=pytest.mark.skipif(not IS_OMEGACONF_2_3, reason="later ones take the number"),
        ),
    ],
)
def test_what_is_wrong_in_any_grid_is_said_before_the_first_job(
    typed: Run, experiment: Callable, grid: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, folder = typed(*experiment(f"{GRIDS}  - {grid}\n"))
    assert message in f"{status}{capsys.readouterr().err}"
    assert status != 0
    assert jobs(folder) == []


def jobs_of_grids(grids: list[dict[str, str]], given: Sequence[Override] = ()) -> list[list[str]]:
    parser = OverridesParser.create()
    return jobs_of([merged(grid, list(given), parser) for grid in grids])


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
    assert jobs_of_grids(grids, overrides) == expected
    assert jobs_of_grids([*grids, grids[0]], overrides) == expected
    assert jobs_of_grids([{"a": "1,2,1"}]) == [["a=1"], ["a=2"]]


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
    overrides = jobs_of_grids(grids)
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
