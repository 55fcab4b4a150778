"""The command, as a user types it: a whole run, its folder, a second run, and what bad input gets."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from lf_experiments import __main__ as command
from lf_experiments.config.schema import Stage
from lf_experiments.figures import figure6_key_neurons_by_language
from lf_experiments.runs.folder import RunFolder
from lf_experiments.study.deactivate import Deactivate
from lf_experiments.study.probe import Probe

LANGUAGES = ["en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(cache: Path) -> Callable[..., Path]:
    """Runs the command in this process; returns the run folder."""

    def run_command(folder: Path, *overrides: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
            patch.setattr(sys, "argv", ["lf_experiments", "experiment=smoke", f"hydra.run.dir={folder}", *overrides])
            command.main()
        return folder

    return run_command


@pytest.fixture(scope="module")
def finished(run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def all_figures() -> None:
    """For a test that is about the figures of a run."""


@pytest.fixture(autouse=True)
def few_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Composes one figure of a run: to draw all of them takes most of the time, and have tests of their own."""
    if "all_figures" not in request.fixturenames:
        request.getfixturevalue("blank_pictures")
        monkeypatch.setattr("lf_experiments.study.report.FIGURES", (figure6_key_neurons_by_language.FIGURE,))


def message(capsys: pytest.CaptureFixture[str], run: Callable[..., Path], *arguments: object) -> str:
    """What the command says of bad input, on one line; it must end with status 1 and no traceback."""
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    text = str(stopped.value.code)
    assert text.startswith("error: ")
    assert "Remedy: " in text
    assert "Traceback" not in capsys.readouterr().err
    return " ".join(text.split())


def modified(folder: Path) -> dict[str, int]:
    """When each result was last written; the report and the record are of every run."""
    stages = ("samples.csv", "similarity.npy", "layers.csv", "regions.csv", "key_neurons.parquet", "perplexity.csv")
    return {name: (folder / name).stat().st_mtime_ns for name in stages}


# The run folder -------------------------------------------------------------------------------------------------------


def test_the_run_folder_holds_what_scripts_rely_on(finished: Path) -> None:
    assert list(pd.read_csv(finished / "samples.csv")) == ["index", "language", "meaning", "tokens", "text"]
    assert list(pd.read_csv(finished / "layers.csv"))[:3] == ["layer", "lrds", "sads"]
    assert {"lrds_lo", "lrds_hi", "sads_lo", "rest", "alignment_hi"} <= set(pd.read_csv(finished / "layers.csv"))
    assert list(pd.read_parquet(finished / "influence.parquet")) == ["meaning", "layer", "lrds", "sads"]
    assert list(pd.read_csv(finished / "baselines.csv")) == [
        "baseline", "score", "value", "lo", "hi", "difference", "difference_lo", "difference_hi",
    ]  # fmt: skip
    assert list(pd.read_csv(finished / "regions.csv")) == [
        "language", "layer", "key_neurons", "neurons", "null_mean", "excess", "replicated",
    ]  # fmt: skip
    assert list(pd.read_parquet(finished / "key_neurons.parquet")) == [
        "language", "layer", "neuron", "score", "z", "frequency",
    ]  # fmt: skip
    assert list(pd.read_csv(finished / "stability.csv")) == [
        "method", "language", "size", "dice", "stability", "precision", "precision_replicated",
    ]  # fmt: skip
    assert list(pd.read_csv(finished / "perplexity.csv")) == [
        "deactivated", "draw", "matches", "dose", "language", "perplexity", "increase_percent", "nll", "tokens", "bytes",
        "bits_per_byte", "log_ratio", "lo", "hi", "against_control", "against_control_lo", "against_control_hi",
    ]  # fmt: skip
    assert set(json.loads((finished / "metrics.json").read_text())) >= {
        "model", "family", "checkpoint", "training_step", "num_parameters", "num_layers", "num_neurons", "languages",
        "sentences_per_language", "lrds", "sads", "sklr", "sklr_fraction", "perplexity", "cloze_accuracy", "lrds_lo", "sads_hi",
        "common", "rest", "language_share", "meaning_share", "alignment", "lrds_p", "sads_p", "sklr_null", "sklr_null_hi",
        "sklr_excess", "sklr_replicated",
    }  # fmt: skip
    for stem in ("figure2_similarity_map", "figure3_layer_scores", "figure5_key_neurons_by_layer",
                 "figure6_key_neurons_by_language", "table1_deactivation"):  # fmt: skip
        for suffix in (".png", ".pdf"):
            assert (finished / "figures" / f"{stem}{suffix}").stat().st_size > 1000
    assert (finished / "report.html").is_file()
    assert not [path for path in finished.rglob("*") if ".part" in path.name]


def test_samples_are_language_major_with_the_same_meanings(finished: Path) -> None:
    samples = pd.read_csv(finished / "samples.csv")
    assert samples["index"].tolist() == list(range(9 * 12))
    assert samples["language"].tolist() == [code for code in LANGUAGES for _ in range(12)]
    meanings = samples.groupby("language", sort=False)["meaning"].apply(list)
    assert all(found == meanings["en"] for found in meanings)
    assert (samples["tokens"] > 0).all()


def test_the_figures_of_the_run_agree_with_each_other(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    similarity = np.load(finished / "similarity.npy")
    regions, key_neurons = pd.read_csv(finished / "regions.csv"), pd.read_parquet(finished / "key_neurons.parquet")
    perplexity = pd.read_csv(finished / "perplexity.csv", keep_default_na=False)
    assert similarity.dtype == np.float32
    assert similarity.shape == (108, 108)
    layer_maps = np.load(finished / "layer_maps.npy")
    assert layer_maps.shape == (metrics["num_layers"], 108, 108) and layer_maps.dtype == np.float16
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-6)
    assert metrics["sklr"] == len(key_neurons) == regions["key_neurons"].sum()
    assert metrics["sklr_fraction"] == metrics["sklr"] / metrics["num_neurons"]
    counted = key_neurons.groupby(["language", "layer"]).size()
    for row in regions.itertuples():
        assert row.key_neurons == counted.get((row.language, row.layer), 0)
    assert (key_neurons["z"] > 2).all()
    baseline = perplexity[perplexity["deactivated"] == "none"].set_index("language")["perplexity"]
    assert metrics["perplexity"] == pytest.approx(baseline.to_dict())
    assert perplexity["deactivated"].unique().tolist() == ["none", *LANGUAGES, "random"]
    assert len(perplexity) == 9 * 12


def test_lrds_and_sads_follow_from_the_map_and_the_samples(finished: Path) -> None:
    similarity = np.load(finished / "similarity.npy").astype(float)
    samples = pd.read_csv(finished / "samples.csv")
    pairs: dict[tuple[bool, bool], list[float]] = {}
    for i, first in samples.iterrows():
        for j, second in samples.iterrows():
            if i != j:
                kind = (first["language"] == second["language"], first["meaning"] == second["meaning"])
                pairs.setdefault(kind, []).append(similarity[i, j])
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["lrds"] == pytest.approx(np.mean(pairs[True, False]) - np.mean(pairs[False, False]), abs=1e-6)
    assert metrics["sads"] == pytest.approx(np.mean(pairs[False, True]) - np.mean(pairs[False, False]), abs=1e-6)


def test_what_stands_beside_the_numbers_agrees_with_them(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    parts = sum(metrics[key] for key in ("common", "lrds", "sads", "rest"))
    assert parts == pytest.approx(1, abs=1e-6)
    for key in ("lrds", "sads", "common", "rest", "language_share", "meaning_share", "alignment"):
        assert metrics[f"{key}_lo"] < metrics[key] < metrics[f"{key}_hi"]
    influence = pd.read_parquet(finished / "influence.parquet")
    assert influence.query("layer == -1")["lrds"].mean() == pytest.approx(metrics["lrds"], abs=1e-9)
    assert len(influence) == 12 * (1 + metrics["num_layers"])
    regions, key_neurons = pd.read_csv(finished / "regions.csv"), pd.read_parquet(finished / "key_neurons.parquet")
    assert regions["null_mean"].sum() == pytest.approx(metrics["sklr_null"])
    assert regions["excess"].sum() == pytest.approx(metrics["sklr_excess"])
    assert regions["replicated"].sum() == metrics["sklr_replicated"] == (key_neurons["frequency"] >= 0.9).sum()
    baselines = pd.read_csv(finished / "baselines.csv").set_index(["baseline", "score"])
    for baseline in ("tokens", "random_weights"):
        row = baselines.loc[(baseline, "lrds")]
        assert row["value"] + row["difference"] == pytest.approx(metrics["lrds"], abs=1e-6)
        assert row["difference_lo"] < row["difference"] < row["difference_hi"]


def test_only_replicated_neurons_are_kept_where_they_are_asked_for(
    run: Callable[..., Path], finished: Path, tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", "probe.replicated=true", "stages=[capture,compare,probe]")
    metrics = json.loads((folder / "metrics.json").read_text())
    whole = pd.read_parquet(finished / "key_neurons.parquet")
    kept = pd.read_parquet(folder / "key_neurons.parquet")
    expected = whole[whole["frequency"] >= 0.9].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, expected)
    assert metrics["sklr"] == metrics["sklr_replicated"] == len(kept)
    assert metrics["sklr_null"] is None


def test_without_uncertainty_there_are_the_numbers_alone(run: Callable[..., Path], finished: Path, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "uncertainty=none", "baselines=[]", "stages=[capture,compare,baselines,probe]")
    alone, beside = (json.loads((path / "metrics.json").read_text()) for path in (folder, finished))
    assert [alone[key] for key in ("lrds", "sads", "rest", "sklr")] == [beside[key] for key in ("lrds", "sads", "rest", "sklr")]
    assert not [key for key in alone if key.endswith(("_lo", "_hi", "_p"))]
    assert alone["sklr_null"] is None
    assert pd.read_csv(folder / "regions.csv")["excess"].isna().all()
    assert not (folder / "baselines.csv").exists()


def test_an_interval_over_languages_is_there_where_it_is_asked_for(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "uncertainty.over_languages=true", "stages=[capture,compare]")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["lrds_over_languages_lo"] < metrics["lrds"] < metrics["lrds_over_languages_hi"]
    assert metrics["lrds_over_languages_hi"] - metrics["lrds"] > metrics["lrds_hi"] - metrics["lrds"]


def test_the_record_says_what_the_run_was_made_of(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert (record["schema_version"], record["status"], record["error"]) == (2, "done", None)
    assert record["config"]["dataset"]["sentences"] == 12
    assert {"python", "torch", "transformers"} <= set(record["versions"])
    assert len(record["model"]["weight_fingerprint"]) == len(record["data"]["dataset"]["fingerprint"]) == 16
    assert list(record["stages"]) == [stage.name for stage in Stage if stage is not Stage.tasks]
    assert all(stage["seconds"] >= 0 and stage["peak_memory_bytes"] > 1e6 for stage in record["stages"].values())
    assert record["command"].startswith("python -m lf_experiments experiment=smoke")


# Doing things once ------------------------------------------------------------------------------------------------------


def test_a_second_run_in_the_same_folder_does_no_stage_again(run: Callable[..., Path], finished: Path) -> None:
    before = modified(finished)
    run(finished)
    assert modified(finished) == before


def test_another_threshold_reuses_the_capture_without_the_model(
    run: Callable[..., Path], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lf_experiments.models.held.assemble_team", lambda *_: pytest.fail("the model was loaded"))
    other = run(tmp_path / "run", "probe.threshold=1.5", "stages=[capture,compare,probe]")
    np.testing.assert_array_equal(np.load(other / "similarity.npy"), np.load(finished / "similarity.npy"))
    assert len(pd.read_parquet(other / "key_neurons.parquet")) > len(pd.read_parquet(finished / "key_neurons.parquet"))
    assert json.loads((other / "metrics.json").read_text())["perplexity"] == {}


def test_a_folder_never_mixes_results_of_different_inputs(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "stages=[capture,compare,probe]")
    run(folder, "stages=[capture]", "seed=7", "overwrite=true")
    assert not (folder / "similarity.npy").exists()
    assert not (folder / "key_neurons.parquet").exists()
    assert json.loads((folder / "metrics.json").read_text())["sklr"] is None


def test_a_forgotten_override_does_not_cost_the_results(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", "stages=[capture,compare,probe]")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log" and path.is_file()}
    found = message(capsys, run, folder, "stages=[report]", "model.dtype=bfloat16")
    assert "it holds results of other inputs (capture, compare, probe): model.dtype auto -> bfloat16" in found
    assert "overwrite=true" in found
    fewer = "language_set.languages=[en,fr,es,pt,ar,hi]"
    found = message(capsys, run, folder, "stages=[capture]", fewer, "probe.threshold=2.0")
    assert "language_set.languages [en,zh,fr,es,pt,ar,vi,hi,id] -> [en,fr,es,pt,ar,hi]" in found
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log" and path.is_file()} == before


def test_another_probe_with_the_same_threshold_is_not_done_before(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", "stages=[capture,compare,probe]")
    zscore, similarity = pd.read_parquet(folder / "key_neurons.parquet"), (folder / "similarity.npy").stat().st_mtime_ns
    found = message(capsys, run, folder, "stages=[capture,compare,probe]", "probe=cohen_d")
    assert "it holds results of other inputs (probe): probe.name zscore -> cohen_d" in found
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "key_neurons.parquet"), zscore)
    run(folder, "stages=[capture,compare,probe]", "probe=cohen_d", "overwrite=true")
    assert not zscore.equals(pd.read_parquet(folder / "key_neurons.parquet"))
    assert (folder / "similarity.npy").stat().st_mtime_ns == similarity  # what does not depend on the probe stays


def test_a_missing_samples_file_heals(run: Callable[..., Path], finished: Path, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "stages=[capture,compare,probe]")
    whole = json.loads((folder / "metrics.json").read_text())
    (folder / "samples.csv").unlink()
    run(folder, "stages=[compare]")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["num_neurons"], metrics["sklr_fraction"]) == (None, whole["sklr_fraction"])
    run(folder, "stages=[capture,compare]")
    assert json.loads((folder / "metrics.json").read_text()) == whole
    assert (folder / "samples.csv").read_bytes() == (finished / "samples.csv").read_bytes()


def test_a_table_that_was_edited_is_made_again(run: Callable[..., Path], finished: Path, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "stages=[capture,compare,probe]")
    edited = (folder / "layers.csv").read_text().replace("0.", "0.1")
    (folder / "layers.csv").write_text(edited)
    run(folder, "stages=[capture,compare,probe]")
    assert (folder / "layers.csv").read_bytes() == (finished / "layers.csv").read_bytes()
    assert (folder / "layers.changed.csv").read_text() == edited
    assert "layers.csv was changed" in json.loads((folder / "run.json").read_text())["warnings"][0]


def test_the_record_names_the_corpora_that_were_read_and_no_others(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "stages=[capture]", "text=files", "text.root=/nowhere")
    assert list(json.loads((folder / "run.json").read_text())["data"]) == ["dataset"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_says_so_and_goes_on(
    run: Callable[..., Path],
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    before = signal.signal(number, signal.default_int_handler)  # a test run in the background ignores Ctrl-C
    with monkeypatch.context() as patch:
        patch.setattr(Probe, "run", lambda *_: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path / "run")
    assert stopped.value.code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1] == "stopped; the same command goes on"
    assert "Traceback" not in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert set(record["stages"]) == {"capture", "compare", "report", "baselines"}
    assert record["error"] == f"Stopped: by {number.name}; the same command goes on"
    assert signal.signal(number, before) is signal.default_int_handler  # as it was before the command
    run(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()


@pytest.mark.usefixtures("all_figures")
def test_a_first_look_is_there_before_deactivation_and_completed_in_place(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, going_on = tmp_path / "run", "running: what is missing here is being measured"
    with monkeypatch.context() as patch:
        patch.setattr(Deactivate, "run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            run(folder)
    assert [path.name for path in (folder / "figures").glob("*.png")] == ["figure2_similarity_map.png"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert going_on in page and "figure2_similarity_map" in page
    first_map = (folder / "figures" / "figure2_similarity_map.png").read_bytes()
    run(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert going_on not in page and "Perplexity" in page
    assert (folder / "figures" / "figure2_similarity_map.png").read_bytes() == first_map
    assert {path.name for path in (folder / "figures").glob("*.png")} >= {"table1_deactivation.png", "figure3_layer_scores.png"}
    complete = (folder / "report.html").stat().st_mtime_ns
    run(folder)
    assert (folder / "report.html").stat().st_mtime_ns == complete  # nothing was redone, and no first look took its place


def test_a_run_that_wants_no_report_gives_no_first_look(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deactivate, "run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        run(tmp_path / "run", "stages=[capture,compare,probe,deactivate]")
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_run_that_was_stopped_in_a_folder_nobody_named_says_which_one_to_go_on_with(
    cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
    monkeypatch.setattr(sys, "argv", ["lf_experiments", "experiment=smoke"])
    monkeypatch.setattr(Probe, "run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        command.main()
    (folder,) = (tmp_path / "outputs").glob("*/*")
    line = f"stopped; the same command with hydra.run.dir={folder.relative_to(tmp_path)} goes on"
    assert capsys.readouterr().err.strip().splitlines()[-1] == line
    assert (folder / "layers.csv").is_file()


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.load(Path(command.configuration_folder()) / "config.yaml").hydra.run
    assert OmegaConf.to_container(config)["dir"] == "${new_folder:outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}}"
    for seed in (0, 1):
        run("'${new_folder:outputs/12-00-00}'", "stages=[capture]", f"seed={seed}")
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["12-00-00", "12-00-00-2"]
    seeds = [json.loads(path.read_text())["config"]["seed"] for path in sorted((tmp_path / "outputs").glob("*/run.json"))]
    assert seeds == [0, 1]


def test_results_do_not_depend_on_batches_or_the_cache(run: Callable[..., Path], finished: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "run", "runtime.batch_tokens=50", "cache.enabled=false", "stages=[capture,compare,probe]")
    np.testing.assert_allclose(np.load(other / "similarity.npy"), np.load(finished / "similarity.npy"), atol=1e-5)


def test_stages_build_on_those_done_before_in_the_folder(run: Callable[..., Path], finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for stage in ("capture", "compare", "probe", "deactivate"):
        run(folder, f"stages=[{stage}]")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "perplexity.csv"), pd.read_csv(finished / "perplexity.csv"))


def test_random_controls_are_as_many_as_asked_and_seeded(run: Callable[..., Path], tmp_path: Path) -> None:
    def controls(name: str, *overrides: str) -> pd.DataFrame:
        table = pd.read_csv(
            run(tmp_path / name, "stages=[capture,probe,deactivate]", "control.draws=3", *overrides) / "perplexity.csv"
        )
        return table[table["deactivated"] == "random"].set_index(["draw", "language"])["perplexity"].unstack(0)

    first = controls("first")
    assert list(first) == [0, 1, 2]
    assert not np.allclose(first[0], first[1])
    pd.testing.assert_frame_equal(first, controls("again"))


def test_any_local_folder_is_a_model(run: Callable[..., Path], model_folders: dict[str, Path], tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, language in enumerate(LANGUAGES):
        (corpus / f"{language}.txt").write_text("\n".join(f"{chr(97 + number)} line {i}" for i in range(12)), encoding="utf-8")
    folder = run(
        tmp_path / "run", "model.recipe=null", f"model.path={model_folders['llama']}", "model.name=mine",
        "dataset=files", f"dataset.root={corpus}", "dataset.sentences=5",
    )  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["model"], metrics["training_step"], metrics["sentences_per_language"]) == ("mine", None, 5)
    assert len(pd.read_csv(folder / "perplexity.csv")) == 9 * (1 + 9 + 2)


# Bad input --------------------------------------------------------------------------------------------------------------


def test_a_stage_without_the_one_before_it(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = message(capsys, run, tmp_path / "run", "stages=[probe]")
    assert "stages=['probe']: this run folder has no results of capture Remedy: add capture" in found
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    assert "no results of probe" in message(capsys, run, tmp_path / "other", "stages=[capture,deactivate]")


def test_a_failed_run_says_so_in_its_record(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message(capsys, run, tmp_path / "run", "dataset.sentences=500")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "only 192 sentences" in record["error"]
    assert not (tmp_path / "run" / "samples.csv").exists()


def local_model(folder: Path) -> list[str]:
    return ["model.recipe=null", f"model.path={folder}"]


def copy_of(folder: Path, target: Path, *without: str) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        if not any(path.match(pattern) for pattern in without):
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_model_folder_that_is_none(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], model_folders: dict[str, Path], tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    assert "there is no such folder" in message(capsys, run, tmp_path / "a", *local_model(missing))
    missing.mkdir()
    assert "it has no config.json" in message(capsys, run, tmp_path / "b", *local_model(missing))
    weightless = copy_of(model_folders["llama"], tmp_path / "weightless", "*.safetensors")
    assert "it has no weights" in message(capsys, run, tmp_path / "c", *local_model(weightless))
    mute = copy_of(model_folders["llama"], tmp_path / "mute", "tokenizer*", "special_tokens*")
    assert "it has no tokenizer Remedy: give model.tokenizer=FOLDER" in message(capsys, run, tmp_path / "d", *local_model(mute))
    lent = run(tmp_path / "e", *local_model(mute), f"model.tokenizer={model_folders['llama']}", "stages=[capture]")
    assert (lent / "samples.csv").is_file()


def test_damaged_weights(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], model_folders: dict[str, Path], tmp_path: Path
) -> None:
    damaged = copy_of(model_folders["llama"], tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    name = next(name for name in weights if "layers.1.mlp.up_proj" in name)
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    assert "layer 1 gives NaN or infinite activations" in message(capsys, run, tmp_path / "a", *local_model(damaged))
    (damaged / "model.safetensors").write_bytes(b"cut off")
    assert "it cannot be loaded" in message(capsys, run, tmp_path / "b", *local_model(damaged))


def test_no_disk_space(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_array", full)
    assert "No space left on device" in message(capsys, run, tmp_path / "run")
    assert not (tmp_path / "run" / "similarity.npy").exists()


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with a cache that cannot be."""
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": "/nonexistent"}
    return subprocess.run([sys.executable, "-m", "lf_experiments", *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model=bloom-giga", "Could not find 'model/bloom-giga'"),
        ("model=bloom-giga", "bloom-nano-l"),
        ("dataset.sentence=3", "Could not override 'dataset.sentence'"),
        ("+dataset.sentence=3", "error: dataset.sentence=3: Key 'sentence' not in 'DatasetConfig'"),
        (
            "checkpoint=step7",
            "error: checkpoint.step=7: bloom-nano never published this step\nRemedy: its steps are 0, 10, 30, 60",
        ),
        ("checkpoint=steps", "Could not find 'checkpoint/steps'"),
        ("dataset=files", "give dataset.root=FOLDER"),
        ("model=local", "give model=local model.path=FOLDER"),
        ("checkpoint=step", "error: checkpoint.step=???: this choice needs a value"),
        ("probe.threshold=3", "error: probe.threshold=3.0: no z-score over 9 languages"),
    ],
)
def test_bad_input_on_the_command_line(
    argument: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", "/nonexistent")
    monkeypatch.setattr(sys, "argv", ["lf_experiments", argument, f"hydra.run.dir={tmp_path}/run"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 1 or isinstance(stopped.value.code, str)  # which is status 1 too
    answer = capsys.readouterr().err + str(stopped.value.code)
    assert said in answer
    assert "Traceback" not in answer
    assert not (tmp_path / "run" / "run.json").exists()


def test_bad_input_ends_the_process_with_status_1_and_the_message(tmp_path: Path) -> None:
    found = typed("probe.threshold=3", f"hydra.run.dir={tmp_path}/run")
    assert found.returncode == 1
    assert found.stderr.startswith("error: probe.threshold=3.0: no z-score over 9 languages")
    assert "Traceback" not in found.stderr


def test_the_traceback_comes_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    found = typed("probe.threshold=3", f"hydra.run.dir={tmp_path}/run")
    assert "Traceback" in found.stderr
    assert "InputError" in found.stderr


def test_help_names_the_groups_and_three_commands_on_one_screen() -> None:
    found = typed("--help")
    assert found.returncode == 0
    for word in ("model         the model: bloom-nano", "miniature, bible, flores", "final, or step<N>", "tracking"):
        assert word in found.stdout
    assert found.stdout.count("python -m lf_experiments") == 3
    assert len(found.stdout.splitlines()) <= 24


def test_help_explains_a_key_and_knows_no_other() -> None:
    found = typed("--help", "probe.threshold")
    assert (found.returncode, "(eq. 12)" in found.stdout, "default 2.0" in found.stdout) == (0, True, True)
    found = typed("--help", "probe.treshold")
    assert found.returncode == 1
    assert (
        found.stderr == "error: --help=probe.treshold: there is no such group or key\nRemedy: similar names: probe.threshold\n"
    )


def test_a_folder_of_ones_own_is_given_with_config_dir(tmp_path: Path) -> None:
    (tmp_path / "mine" / "probe").mkdir(parents=True)
    (tmp_path / "mine" / "probe" / "loudest.yaml").write_text("name: my_probes:loudest\nthreshold: 1.5\n")
    found = typed("--config-dir", str(tmp_path / "mine"), "--cfg", "job", "--package", "probe", "probe=loudest")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1:3] == ["name: my_probes:loudest", "threshold: 1.5"]
    assert "Could not find 'probe/loudest'" in typed("probe=loudest").stderr


def test_doubts_about_the_texts_are_kept_with_the_run(run: Callable[..., Path], finished: Path, tmp_path: Path) -> None:
    sound = json.loads((finished / "run.json").read_text())["warnings"]
    assert not [warning for warning in sound if warning.startswith(("dataset=", "text="))]
    for language in LANGUAGES:
        (tmp_path / f"{language}.txt").write_text("".join(f"The rain falls {n} times.\n" for n in range(12)), encoding="utf-8")
    files = ["dataset=files", f"dataset.root={tmp_path}", "dataset.sentences=4", "generation.samples=1"]
    folder = run(tmp_path / "run", "stages=[capture]", *files)
    copied, foreign = json.loads((folder / "run.json").read_text())["warnings"]
    assert copied.startswith("dataset=files: en, zh, fr, es, pt, ar, vi, hi, id have the same 4 sentences, word for word")
    assert "zh has 0% of its letters in Han, ar has 0% of its letters in Arabic, hi has 0%" in foreign


def test_a_tokenizer_that_the_model_does_not_know(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], model_folders: dict[str, Path], cache: Path, tmp_path: Path
) -> None:
    run(tmp_path / "grown", "stages=[capture]")
    (grown,) = (cache / "models").glob("bloom-smoke-*")  # its tokenizer has 400 tokens
    arguments = [*local_model(model_folders["llama"]), f"model.tokenizer={grown / 'step60'}"]
    assert "it has 400 tokens, but the model knows only 320" in message(capsys, run, tmp_path / "run", *arguments)
