"""The table of a sweep says what its runs say; a sweep's files are written by function and by command; nothing is hidden."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from run_folders import edit, fail, write_job, write_run_folder

from lf_experiments import sweep
from lf_experiments.errors import InputError
from lf_experiments.runs.lines import lines as evolutions
from lf_experiments.runs.sweep_table import read_sweep, sweep_table
from lf_experiments.sweep import duplicates, main, unfinished, write_sweep

CODES = ["en", "zh", "ar"]
STEPS = (0, 30, 100, 200)


pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A sweep over four steps of one model."""
    for step in STEPS:
        write_job(tmp_path / "sweep" / f"checkpoint=step{step}", step, languages=CODES)
    return tmp_path / "sweep"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def row(table: pd.DataFrame, job: str) -> pd.Series:
    (found,) = [values for _, values in table.iterrows() if values["job"] == job]
    return found


def test_a_row_says_what_the_run_says(folder):
    table = sweep_table([folder])
    assert list(table["job"]) == [f"checkpoint=step{step}" for step in STEPS]
    for run, values in table.iterrows():
        metrics, record = read(run.folder / "metrics.json"), read(run.folder / "run.json")
        for name, value in metrics.items():
            if name not in ("languages", "perplexity", "cloze_accuracy"):
                assert values[name] == value
        assert {code: values[f"perplexity_{code}"] for code in CODES} == metrics["perplexity"]
        assert values["perplexity_mean"] == pytest.approx(sum(metrics["perplexity"].values()) / 3)
        assert pd.isna(values["cloze_accuracy_mean"])
        assert values["training_tokens"] == 2048 * metrics["training_step"]
        assert values["weight_fingerprint"] == record["model"]["weight_fingerprint"]
        assert (values["status"], values["error"], values["duplicate_of"], values["variant"]) == ("done", "", "", "")
        assert values["overrides"] == f"model=bloom-nano checkpoint={metrics['checkpoint']}"
        assert (values["model_override"], values["checkpoint_override"]) == ("bloom-nano", metrics["checkpoint"])


def test_the_csv_holds_the_table_and_nothing_of_the_machine(folder):
    table = write_sweep(folder).table
    written = read_sweep(folder / "sweep.csv")
    assert list(written.columns) == list(table.columns)
    for run, (_, values) in zip(table.index, written.iterrows(), strict=True):
        metrics = read(run.folder / "metrics.json")
        for name in ("model", "checkpoint", "training_step", "num_parameters", "lrds", "sads", "sklr", "sklr_fraction"):
            assert values[name] == metrics[name]
        for code in CODES:
            assert values[f"perplexity_{code}"] == metrics["perplexity"][code]
    text = (folder / "sweep.csv").read_text(encoding="utf-8")
    assert str(folder) not in text
    assert ",30,61440,464128,3,768,4," in text


def test_every_key_that_is_overridden_has_a_column(tmp_path):
    write_job(
        tmp_path / "a", 0, overrides=("seed=1", "+probe.threshold=1.5", "language_set.languages=[en, fr]", "stages=[capture]")
    )
    write_job(tmp_path / "b", 30, overrides=("seed=2", "perplexity_mean=7"))
    table = sweep_table([tmp_path])
    first, second = row(table, "a"), row(table, "b")
    assert (first["seed"], first["probe.threshold"], first["language_set.languages"]) == ("1", "1.5", "[en, fr]")
    assert second["seed"] == "2" and pd.isna(second["probe.threshold"])
    assert second["perplexity_mean_override"] == "7" and second["perplexity_mean"] > 2


def test_runs_that_differ_in_more_than_the_checkpoint_are_apart(tmp_path):
    for seed in (1, 2):
        for step in (0, 30):
            write_job(tmp_path / f"{seed}-{step}", step, seed=seed, stages=[str(seed)], runtime={"batch_tokens": seed * step})
    table = sweep_table([tmp_path])
    assert sorted(set(table["variant"])) == ["seed=1", "seed=2"]
    assert list(evolutions(table, "training_step")) == ["bloom-nano, seed=1", "bloom-nano, seed=2"]
    assert duplicates(table) == []


@pytest.mark.parametrize(
    ("one", "other", "variants"),
    [
        ({"text": {"window": None}}, {"text": {"window": 64}}, ["", "text.window=64"]),
        (
            {"dataset": {"name": "miniature", "source": "miniature", "root": None}},
            {"dataset": {"name": "ntrex", "source": "files", "root": "/x"}},
            ["dataset.name=miniature", "dataset.name=ntrex"],
        ),
        ({"text": {"name": "a", "root": "/x"}}, {"text": {"name": "a", "root": "/y"}}, ["text.root=/x", "text.root=/y"]),
        ({"probe": {"a": [1]}}, {"probe": {"a": [1, 2]}}, ["probe.a=[1]", "probe.a=[1, 2]"]),
        ({"cache": {"dir": "/x"}}, {"cache": {"dir": "/y"}}, ["", ""]),
    ],
)
def test_a_variant_is_what_the_configurations_differ_in(tmp_path, one, other, variants):
    write_job(tmp_path / "0", 0, **one)
    write_job(tmp_path / "1", 30, **other)
    assert list(sweep_table([tmp_path])["variant"]) == variants


def test_small_models_come_first_and_failed_ones_stand_with_their_model(tmp_path):
    write_job(tmp_path / "0", 100, "big", 2_000_000)
    write_job(tmp_path / "1", 30, "big", 2_000_000)
    write_job(tmp_path / "2", None, "big", 2_000_000)
    write_job(tmp_path / "3", 100, "small", 1_000)
    fail(write_job(tmp_path / "4", 30, "small", 1_000), "out of memory")
    fail(write_job(tmp_path / "5", None, "unknown"), "no such folder")
    assert list(sweep_table([tmp_path])["job"]) == ["4", "3", "1", "0", "2", "5"]


def test_a_run_that_failed_early_has_its_row_and_takes_no_numbers_of_an_earlier_one(folder):
    run = folder / "checkpoint=step100"
    metrics = read(run / "metrics.json")
    fail(run, 'InputError: dataset.root=x, "quoted"\nRemedy: another')
    (run / "metrics.json").write_text(json.dumps({**metrics, "checkpoint": "stale"}), encoding="utf-8")
    values = row(write_sweep(folder).table, "checkpoint=step100")
    assert (values["status"], values["model"], values["checkpoint"]) == ("failed", "bloom-nano", "step100")
    assert values["training_step"] == 100
    assert values[["lrds", "sads", "sklr", "perplexity_en", "num_parameters", "training_tokens"]].isna().all()
    assert row(read_sweep(folder / "sweep.csv"), "checkpoint=step100")["error"] == values["error"]
    assert values["error"].endswith('"quoted"\nRemedy: another')


def test_a_running_run_is_named_and_is_no_point_of_a_line(folder):
    edit(folder / "checkpoint=step30" / "run.json", status="running")
    table = sweep_table([folder])
    assert row(table, "checkpoint=step30")["status"] == "running"
    assert row(table, "checkpoint=step30")["lrds"] > 0
    assert unfinished(table) == [
        "job checkpoint=step30 has not ended: it is still running or was killed; the same command goes on with it"
    ]
    line = evolutions(table, "training_step")["bloom-nano"]
    assert list(line["lrds"].isna()) == [False, True, False, False]


def test_a_mean_over_fewer_languages_is_not_given(folder):
    path = folder / "checkpoint=step0" / "metrics.json"
    edit(path, perplexity={**read(path)["perplexity"], "ar": None})
    values = row(sweep_table([folder]), "checkpoint=step0")
    assert pd.isna(values["perplexity_ar"]) and pd.isna(values["perplexity_mean"]) and values["perplexity_en"] > 1


def test_runs_are_found_at_any_depth_once_and_not_in_hidden_folders_or_those_of_wandb(tmp_path):
    write_job(tmp_path / "a" / "b" / "c", 0)
    for name in ("wandb", ".cache", "a/b/wandb/offline-run", "a/.hidden/x"):
        write_job(tmp_path / name, 30)
    assert list(sweep_table([tmp_path])["job"]) == ["a/b/c"]
    assert list(sweep_table([tmp_path, tmp_path / "a"])["job"]) == ["a/b/c"]
    assert list(sweep_table([tmp_path / ".cache"])["job"]) == [".cache"]


def test_rows_of_several_folders_stay_distinct(tmp_path):
    for sweep_name in ("one", "two"):
        for step in (0, 30):
            write_job(tmp_path / sweep_name / f"step{step}", step, fingerprint=f"{step}")
    table = write_sweep(tmp_path / "out", [tmp_path / "one", tmp_path / "two"]).table
    assert list(table["job"]) == ["one/step0", "two/step0", "one/step30", "two/step30"]
    assert duplicates(table) == []
    assert list(sweep_table([tmp_path / "one" / "step0", tmp_path / "one" / "step30"])["job"]) == ["step0", "step30"]


def test_two_steps_with_the_same_weights_are_reported(tmp_path):
    for step, fingerprint in ((0, "a"), (100, "b"), (200, "b"), (300, "b"), (400, "c")):
        write_job(tmp_path / f"{step}", step, model="bloom-7b1", fingerprint=fingerprint)
    table = sweep_table([tmp_path])
    assert list(table["duplicate_of"]) == ["", "", "100", "100", ""]
    tail = "one of them was published wrongly; the curve between them says nothing"
    assert duplicates(table) == [
        f"checkpoint step200 of bloom-7b1 has the same weights as step100: {tail}",
        f"checkpoint step300 of bloom-7b1 has the same weights as step100: {tail}",
    ]


@pytest.mark.parametrize(
    ("first", "second", "is_duplicate"),
    [
        ({"step": 1500}, {"step": 1500}, False),
        ({"step": 1500}, {"step": None}, True),
        ({"step": None}, {"step": None, "model": "other"}, True),
        ({"step": None}, {"step": None}, False),
    ],
)
def test_the_same_weights_are_a_duplicate_only_where_others_are_claimed(tmp_path, first, second, is_duplicate):
    write_job(tmp_path / "a", **first, fingerprint="x")
    write_job(tmp_path / "b", **second, fingerprint="x")
    sentences = duplicates(sweep_table([tmp_path]))
    assert bool(sentences) is is_duplicate
    assert all("they are one point of a curve, not two" in sentence for sentence in sentences)


def test_the_final_weights_may_be_those_of_the_last_step(tmp_path):
    write_job(tmp_path / "a", 1500, fingerprint="x")
    edit(write_job(tmp_path / "b", None, fingerprint="x") / "metrics.json", training_step=1500)
    assert duplicates(sweep_table([tmp_path])) == []


def test_two_folders_with_the_same_weights_are_reported(tmp_path):
    for name in ("a", "b"):
        run = write_job(tmp_path / name, None, model="local", fingerprint="x")
        edit(run / "run.json", model={**read(run / "run.json")["model"], "folder": f"/revisions/{name}"})
    (sentence,) = duplicates(sweep_table([tmp_path]))
    assert sentence.startswith("job b (checkpoint final of local) has the same weights as job a (checkpoint final of local)")


def test_failed_runs_are_no_duplicates_of_each_other(folder):
    for step in (30, 100):
        fail(folder / f"checkpoint=step{step}", "no memory")
    assert duplicates(sweep_table([folder])) == []


def test_everything_is_written_and_a_second_time_the_same(folder):
    def contents() -> dict[str, bytes]:
        paths = [folder / "sweep.csv", folder / "report.html", *(folder / "figures").iterdir()]
        return {path.name: path.read_bytes() for path in paths}

    write_sweep(folder)
    before = contents()
    stems = (
        "figure4_training_dynamics",
        "figure5_key_neurons_by_layer_and_step",
        "figure6_key_neurons_by_language_and_step",
    )
    assert set(before) == {"sweep.csv", "report.html"} | {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    write_sweep(folder)
    assert contents() == before


def test_a_csv_that_cannot_be_written_keeps_the_old_one(folder, monkeypatch):
    write_sweep(folder)
    before = (folder / "sweep.csv").read_text(encoding="utf-8")

    def full(_: pd.DataFrame, path: Path, **__: object) -> None:
        path.write_text("job", encoding="utf-8")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="disk full"):
        write_sweep(folder)
    assert (folder / "sweep.csv").read_text(encoding="utf-8") == before
    assert not list(folder.glob(".*part*"))


def test_the_command_says_what_it_wrote(folder, capsys):
    assert main([str(folder)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "4 runs: 4 done"
    first = ("sweep.csv", "neighbours.csv", "figures/figure4_training_dynamics.png")
    assert lines[1:4] == [str(folder / name) for name in first]
    assert lines[-1] == str(folder / "report.html")
    assert all(Path(line).is_file() for line in lines[1:])
    assert captured.err == ""


def test_the_command_fails_when_a_run_failed_and_names_it(folder, capsys):
    fail(folder / "checkpoint=step0", "InputError: bad text")
    edit(
        folder / "checkpoint=step30" / "run.json",
        model={**read(folder / "checkpoint=step30/run.json")["model"], "weight_fingerprint": "bloom-nano-step100"},
    )
    assert main([str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("4 runs: 3 done, 1 failed\n")
    assert "warning: job checkpoint=step0 failed: InputError: bad text" in captured.err
    assert "warning: checkpoint step100 of bloom-nano has the same weights as step30" in captured.err
    assert (folder / "sweep.csv").is_file()


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_the_command_fails_where_there_is_no_run(tmp_path, name, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: FOLDER={tmp_path / name}: no run.json is in or below it\nRemedy: give the folder of a sweep"
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty"]


def test_the_report_of_a_run_is_not_overwritten(folder, capsys):
    run = folder / "checkpoint=step0"
    (run / "report.html").write_text("its own", encoding="utf-8")
    assert main([str(run), str(folder / "checkpoint=step30")]) == 1
    assert "which has a report of its own\nRemedy: give --out FOLDER" in capsys.readouterr().err
    assert (run / "report.html").read_text(encoding="utf-8") == "its own"
    assert not (run / "sweep.csv").exists()


def test_the_command_puts_several_folders_together_over_tokens(tmp_path, folder):
    for step in STEPS:
        write_job(tmp_path / "other" / f"step{step}", step, "llama-nano", 458_048, languages=CODES)
    command = [
        sys.executable,
        "-m",
        "lf_experiments.sweep",
        "sweep",
        "other",
        "--out",
        "both",
        "--x",
        "training_tokens",
    ]
    path = {"PYTHONPATH": str(Path(sweep.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ | path)
    assert done.stdout.startswith("8 runs: 8 done\nboth/sweep.csv\n") and done.stderr == ""
    table = read_sweep(tmp_path / "both" / "sweep.csv")
    assert set(table["job"]) == {f"sweep/checkpoint=step{step}" for step in STEPS} | {f"other/step{step}" for step in STEPS}
    assert not (folder / "sweep.csv").exists()
    html = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"<h1>both</h1>", html)


def test_an_axis_that_is_not_one_is_refused(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(folder), "--x", "seconds"])
    assert stop.value.code == 2
    assert "training_step" in capsys.readouterr().err


def test_a_folder_without_runs_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="no run.json is in or below it"):
        write_sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_jobs_whose_names_are_numbers_stay_names(tmp_path):
    for number, step in enumerate(STEPS):
        write_run_folder(tmp_path / str(number), CODES)
        write_job(tmp_path / str(number), step, languages=CODES, fingerprint="x" if number else None)
    table = write_sweep(tmp_path).table
    assert list(table["duplicate_of"]) == ["", "", "1", "1"]
    pd.testing.assert_frame_equal(
        read_sweep(tmp_path / "sweep.csv")[["job", "duplicate_of"]].astype(object),
        table[["job", "duplicate_of"]].reset_index(drop=True).astype(object),
    )


BROKEN = {
    "truncated": '{"status": "do',
    "empty": "",
    "binary": b"\xff\xfe\x00",
    "foreign": '{"foo": 1}',
    "a list": "[]",
}


@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_run_that_cannot_be_read_is_a_row_of_its_own_and_the_others_are_shown(folder, name, content, capsys):
    broken = folder / "checkpoint=step30" / name
    broken.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main([str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("4 runs: 3 done, 1 unreadable\n")
    assert f"warning: job checkpoint=step30 cannot be read and is left out: {name}={broken}: it cannot be read" in captured.err
    assert "Traceback" not in captured.err
    values = row(read_sweep(folder / "sweep.csv"), "checkpoint=step30")
    assert values["status"] == "unreadable" and pd.isna(values["lrds"])
    assert (folder / "figures" / "figure4_training_dynamics.png").is_file()


def test_a_folder_that_is_called_run_json_is_no_run(folder, capsys):
    (folder / "checkpoint=step0" / "inner" / "run.json").mkdir(parents=True)
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out.startswith("4 runs: 4 done\n")


def test_a_sweep_that_is_interrupted_says_so_in_one_line(folder, monkeypatch, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "write_sweep", interrupted)
    assert main([str(folder)]) == 130
    assert capsys.readouterr().err == "stopped; the same command starts again\n"


def test_the_folder_of_one_run_is_answered_with_its_report(folder, capsys):
    run = folder / "checkpoint=step0"
    assert main([str(run)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: out={run}: this is the folder of a run, which has a report of its own\nRemedy: give --out FOLDER"
    )
    assert "one run is shown by its report.html" in error
