"""The command, as a user types it: a whole run, its folder, a second run, and what bad input gets."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lf_experiments import __main__ as command
from lf_experiments.config import Stage
from lf_experiments.results.run_folder import RunFolder

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
    assert list(pd.read_csv(finished / "layers.csv")) == ["layer", "lrds", "sads"]
    assert list(pd.read_csv(finished / "regions.csv")) == ["language", "layer", "key_neurons", "neurons"]
    assert list(pd.read_parquet(finished / "key_neurons.parquet")) == ["language", "layer", "neuron", "score", "z"]
    assert list(pd.read_csv(finished / "perplexity.csv")) == [
        "deactivated", "draw", "language", "perplexity", "increase_percent", "nll", "tokens", "bytes", "bits_per_byte",
    ]  # fmt: skip
    assert set(json.loads((finished / "metrics.json").read_text())) == {
        "model", "checkpoint", "training_step", "num_parameters", "num_layers", "num_neurons", "languages",
        "sentences_per_language", "lrds", "sads", "sklr", "sklr_fraction", "perplexity", "cloze_accuracy",
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
    assert len(perplexity) == 9 * 11


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


def test_the_record_says_what_the_run_was_made_of(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert (record["schema_version"], record["status"], record["error"]) == (1, "done", None)
    assert record["config"]["dataset"]["sentences"] == 12
    assert {"python", "torch", "transformers"} <= set(record["versions"])
    assert len(record["model"]["weight_fingerprint"]) == len(record["data"]["dataset"]["fingerprint"]) == 16
    assert list(record["stages"]) == [stage.name for stage in Stage]
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
    monkeypatch.setattr("lf_experiments.study.assembled", lambda *_: pytest.fail("the model was loaded"))
    other = run(tmp_path / "run", "probe.threshold=1.5", "stages=[capture,compare,probe]")
    np.testing.assert_array_equal(np.load(other / "similarity.npy"), np.load(finished / "similarity.npy"))
    assert len(pd.read_parquet(other / "key_neurons.parquet")) > len(pd.read_parquet(finished / "key_neurons.parquet"))
    assert json.loads((other / "metrics.json").read_text())["perplexity"] == {}


def test_a_folder_never_mixes_results_of_different_inputs(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "stages=[capture,compare,probe]")
    run(folder, "stages=[capture]", "seed=7")
    assert not (folder / "similarity.npy").exists()
    assert not (folder / "key_neurons.parquet").exists()
    assert json.loads((folder / "metrics.json").read_text())["sklr"] is None


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
    assert len(pd.read_csv(folder / "perplexity.csv")) == 99


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
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": "/nonexistent"}
    return subprocess.run([sys.executable, "-m", "lf_experiments", *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model=bloom-giga", "Could not find 'model/bloom-giga'"),
        ("model=bloom-giga", "bloom-nano-l"),
        ("dataset.sentence=3", "Could not override 'dataset.sentence'"),
        ("+dataset.sentence=3", "error: dataset.sentence=3: Key 'sentence' not in 'DatasetConfig'"),
        ("checkpoint=step7", "Could not find 'checkpoint/step7'"),
        ("dataset=files", "give dataset.root=FOLDER"),
        ("model=local", "give model=local model.path=FOLDER"),
        ("checkpoint=step", "error: checkpoint.step=???: this choice needs a value"),
        ("probe.threshold=3", "error: probe.threshold=3.0: no z-score over 9 languages"),
    ],
)
def test_bad_input_on_the_command_line(argument: str, said: str, tmp_path: Path) -> None:
    found = typed(argument, f"hydra.run.dir={tmp_path}/run")
    assert found.returncode == 1
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "run" / "run.json").exists()


def test_the_traceback_comes_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    found = typed("probe.threshold=3", f"hydra.run.dir={tmp_path}/run")
    assert "Traceback" in found.stderr
    assert "InputError" in found.stderr


def test_help_names_the_groups_and_three_commands() -> None:
    found = typed("--help")
    assert found.returncode == 0
    for word in ("bloom-nano-l", "dataset: bible, files, flores", "checkpoint: final", "text: files", "tracking: none"):
        assert word in found.stdout
    assert found.stdout.count("python -m lf_experiments") == 3


def test_a_tokenizer_that_the_model_does_not_know(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], model_folders: dict[str, Path], cache: Path, tmp_path: Path
) -> None:
    run(tmp_path / "grown", "stages=[capture]")
    (grown,) = (cache / "models").glob("bloom-smoke-*")  # its tokenizer has 400 tokens
    arguments = [*local_model(model_folders["llama"]), f"model.tokenizer={grown / 'step60'}"]
    assert "it has 400 tokens, but the model knows only 320" in message(capsys, run, tmp_path / "run", *arguments)
