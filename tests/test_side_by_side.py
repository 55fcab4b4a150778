"""Two runs side by side: every difference beside the same difference by hand, and what cannot be compared."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import edit, write_run_folder
from scipy import stats

from lf_experiments.runs.run import Run
from lf_experiments.runs.side_by_side import layer_changes, loss_changes, score_changes, shared_neurons
from lf_experiments.side_by_side import main

CODES = ["en", "fr", "zh"]
MEANINGS = [f"m{number}" for number in range(6)]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs on the same texts that differ in all numbers."""
    return tuple(written(tmp_path / name, seed) for seed, name in enumerate(("first", "second")))


def written(folder: Path, seed: int) -> Path:
    random = np.random.default_rng(seed)
    write_run_folder(folder, CODES, sentences=len(MEANINGS))
    influence = pd.DataFrame([(meaning, layer) for layer in range(-1, 3) for meaning in MEANINGS], columns=["meaning", "layer"])
    influence = influence.assign(lrds=random.normal(size=len(influence)), sads=random.normal(size=len(influence)))
    influence.to_parquet(folder / "influence.parquet")
    whole, by_layer = influence[influence["layer"] < 0], influence[influence["layer"] >= 0].groupby("layer")
    edit(folder / "metrics.json", lrds=whole["lrds"].mean(), sads=whole["sads"].mean(), num_layers=3, num_neurons=1536)
    pd.DataFrame({"layer": range(3), "lrds": by_layer["lrds"].mean(), "sads": by_layer["sads"].mean()}).to_csv(
        folder / "layers.csv", index=False
    )
    windows = window_table(random)
    windows.to_parquet(folder / "perplexity_windows.parquet")
    perplexity_of(windows).to_csv(folder / "perplexity.csv", index=False)
    neurons = [
        (code, layer, neuron) for code in CODES for layer in range(3) for neuron in random.choice(512, 40, replace=False)
    ]
    pd.DataFrame(neurons, columns=["language", "layer", "neuron"]).to_parquet(folder / "key_neurons.parquet")
    return folder


def window_table(random: np.random.Generator) -> pd.DataFrame:
    """Seven windows a language; the random control and a half dose are there too."""
    rows = [
        (off, 0, dose, language, window, 100 + 9 * window + random.normal(), 40 + window, 160 + window)
        for off, dose in [("none", 1.0), *((code, dose) for code in CODES for dose in (0.5, 1.0)), ("random", 1.0)]
        for language in CODES
        for window in range(7)
    ]
    return pd.DataFrame(rows, columns=["deactivated", "draw", "dose", "language", "window", "nll", "tokens", "bytes"])


def perplexity_of(windows: pd.DataFrame) -> pd.DataFrame:
    sums = windows.groupby(["deactivated", "draw", "dose", "language"], sort=False, as_index=False)[["nll", "tokens"]].sum()
    return sums.assign(perplexity=np.exp(sums["nll"] / sums["tokens"]), increase_percent=0.0)


def runs(pair: tuple[Path, Path]) -> tuple[Run, Run]:
    return Run(pair[0]), Run(pair[1])


def t_interval(differences: np.ndarray) -> tuple[float, float]:
    """Student's t around the mean of paired differences."""
    mean, error = differences.mean(), differences.std(ddof=1) / math.sqrt(len(differences))
    return stats.t.interval(0.95, len(differences) - 1, mean, error)


def contributions(run: Run, score: str, layer: int) -> np.ndarray:
    return run.influence[run.influence["layer"] == layer].set_index("meaning").loc[MEANINGS, score].to_numpy()


def test_differences_of_scores_are_paired_over_meanings(pair) -> None:
    one, other = runs(pair)
    table = score_changes(one, other).set_index("score")
    for score in ("lrds", "sads"):
        expected = contributions(other, score, -1) - contributions(one, score, -1)
        row = table.loc[score]
        assert row["difference"] == pytest.approx(expected.mean(), abs=1e-12)
        assert (row["lo"], row["hi"]) == pytest.approx(t_interval(expected), abs=1e-12)
    assert table.loc["sklr", "difference"] == other.metrics["sklr"] - one.metrics["sklr"]
    assert math.isnan(table.loc["sklr", "lo"])


def test_differences_of_layers_are_paired_over_meanings(pair) -> None:
    one, other = runs(pair)
    table = layer_changes(one, other).set_index("layer")
    for layer in range(3):
        expected = contributions(other, "lrds", layer) - contributions(one, "lrds", layer)
        assert table.loc[layer, "lrds"] == pytest.approx(expected.mean(), abs=1e-12)
        assert tuple(table.loc[layer, ["lrds_lo", "lrds_hi"]]) == pytest.approx(t_interval(expected), abs=1e-12)


def test_regions_are_compared_neuron_by_neuron(pair) -> None:
    one, other = runs(pair)
    table = shared_neurons(one, other).set_index("language")
    for code in CODES:
        sets = []
        for run in (one, other):
            rows = run.key_neurons[run.key_neurons["language"] == code]
            sets.append({(row.layer, row.neuron) for row in rows.itertuples()})
        assert table.loc[code, "shared"] == len(sets[0] & sets[1])
        assert table.loc[code, "jaccard"] == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
        assert table.loc[code, "by_chance"] == pytest.approx(120 * 120 / 1536)


def test_losses_are_paired_over_windows_of_text(pair) -> None:
    one, other = runs(pair)
    table = loss_changes(one, other)
    assert len(table) == 9  # neither the full model, nor random neurons, nor the half dose
    for row in table.itertuples():
        rises = []
        for run in (one, other):
            windows = run.perplexity_windows.query("language == @row.language and dose == 1.0").set_index(
                ["deactivated", "window"]
            )
            rises.append((windows.loc[row.deactivated, "nll"] - windows.loc["none", "nll"]).to_numpy())
        tokens, change = 40 + np.arange(7), rises[1] - rises[0]
        ratio = change.sum() / tokens.sum()
        error = math.sqrt(7 / 6 * ((change - ratio * tokens) ** 2).sum()) / tokens.sum()
        assert row.first == pytest.approx(rises[0].sum() / tokens.sum(), abs=1e-9)
        assert row.difference == pytest.approx(ratio, abs=1e-9)
        assert (row.lo, row.hi) == pytest.approx(stats.t.interval(0.95, 6, ratio, error), abs=1e-9)


def test_other_windows_have_no_interval(pair) -> None:
    path = pair[1] / "perplexity_windows.parquet"
    windows = pd.read_parquet(path)
    windows.assign(bytes=windows["bytes"] + 1).to_parquet(path)
    table = loss_changes(*runs(pair))
    assert table["lo"].isna().all()
    assert table["difference"].notna().all()


def test_other_sentences_are_not_paired(pair) -> None:
    data = {"dataset": {"name": "other", "fingerprint": "x", "licence": ""}}
    edit(pair[1] / "run.json", data=data)
    assert score_changes(*runs(pair)).set_index("score").loc["lrds"].isna()["lo"]


def test_models_of_other_sizes_have_no_neurons_in_common(pair) -> None:
    edit(pair[1] / "metrics.json", num_neurons=2000)
    assert shared_neurons(*runs(pair)) is None
    pd.read_csv(pair[1] / "layers.csv").iloc[:2].to_csv(pair[1] / "layers.csv", index=False)
    assert layer_changes(*runs(pair)) is None


def test_the_command_writes_tables_and_one_page(pair, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    edit(pair[1] / "metrics.json", model="<i>tiny</i>")
    assert main([*map(str, pair), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        "scores.csv", "layers.csv", "regions.csv", "losses.csv", "comparison.html"
    }  # fmt: skip
    html = (out / "comparison.html").read_text(encoding="utf-8")
    for section in ("What was run", "Scores", "Layers", "Regions in common", "Losses without a region"):
        assert f">{section}</h2>" in html
    assert "&lt;i&gt;tiny&lt;/i&gt;" in html
    assert "<i>tiny" not in html
    assert str(out / "comparison.html") in capsys.readouterr().out


def test_what_a_comparison_before_had_does_not_stay(pair, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*map(str, pair), "--out", str(out)]) == 0
    edit(pair[1] / "metrics.json", num_neurons=2000)
    assert main([*map(str, pair), "--out", str(out)]) == 0
    assert not (out / "regions.csv").exists()
    assert "their regions cannot be compared neuron by neuron" in (out / "comparison.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_run(pair, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(pair[0]), str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 1
    assert "it has no metrics.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
