"""The points of a curve beside their neighbours: each change with its interval, by hand here."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import edit, fail, write_job
from scipy import stats

from lf_experiments import sweep
from lf_experiments.report.of_sweep import from_point_to_point
from lf_experiments.runs.neighbours import COLUMNS, neighbours
from lf_experiments.runs.sweep import Sweep

STEPS = (30, 100, 1500)
LRDS = (0.6, 0.4, 0.398)
MEANINGS = 20


def write_training(root: Path, model: str = "bloom-nano") -> dict[int, np.ndarray]:
    """Three steps whose LRDS falls, then hardly changes; returns what every meaning contributes to it at each step."""
    random, contributions = np.random.default_rng(0), {}
    common = random.normal(size=MEANINGS)
    for step, lrds in zip(STEPS, LRDS, strict=True):
        folder = write_job(root / f"{model}-step{step}", step, model)
        values = 0.1 * common + 0.01 * random.normal(size=MEANINGS)
        contributions[step] = lrds + values - values.mean()
        table = pd.DataFrame({"meaning": [f"m{n}" for n in range(MEANINGS)], "layer": -1, "lrds": contributions[step]})
        table.sample(frac=1, random_state=step).to_parquet(folder / "influence.parquet", index=False)
        edit(folder / "metrics.json", lrds=lrds, lrds_lo=lrds - 0.05, lrds_hi=lrds + 0.05)
    return contributions


def test_neighbours_are_compared_meaning_by_meaning(tmp_path: Path) -> None:
    contributions = write_training(tmp_path)
    table = neighbours(Sweep(tmp_path))
    assert list(table) == list(COLUMNS)
    assert set(table["curve"]) == {"bloom-nano"} and set(table["along"]) == {"training_step"}
    of_lrds = table[table["score"] == "lrds"].set_index(["from", "to"])
    assert list(of_lrds.index) == [(30, 100), (100, 1500)]
    p_values = []
    for start, end in of_lrds.index:
        row, test = of_lrds.loc[(start, end)], stats.ttest_rel(contributions[end], contributions[start])
        p_values.append(test.pvalue)
        interval = test.confidence_interval(0.95)
        assert row["difference"] == pytest.approx(row["second"] - row["first"])
        assert (row["lo"], row["hi"], row["p"]) == pytest.approx((interval.low, interval.high, test.pvalue))
    assert p_values[0] < p_values[1]
    assert list(of_lrds["p_holm"]) == pytest.approx([2 * p_values[0], p_values[1]])


def test_a_score_without_an_interval_has_a_difference_alone(tmp_path: Path) -> None:
    write_training(tmp_path)
    table = neighbours(Sweep(tmp_path))
    row = table[table["score"] == "sklr_fraction"].iloc[0]
    assert row["difference"] == pytest.approx(row["second"] - row["first"])
    assert row[["lo", "hi", "p", "p_holm"]].isna().all()


def test_failed_runs_and_twins_are_left_out_and_sizes_are_a_curve(tmp_path: Path) -> None:
    write_training(tmp_path)
    fail(tmp_path / "bloom-nano-step100", "out of memory")
    for model, parameters in (("bloom-a", 10**6), ("bloom-b", 10**7), ("bloom-c", 10**8)):
        write_job(tmp_path / model, None, model, parameters, fingerprint="same" if model != "bloom-a" else None)
    write_job(tmp_path / "bloom-d", None, "bloom-d", 10**9)
    table = neighbours(Sweep(tmp_path)).query("score == 'lrds'")
    found = {(row["along"], row["from"], row["to"]) for _, row in table.iterrows()}
    assert found == {("training_step", 30, 1500), ("num_parameters", 10**6, 10**9)}


def test_the_report_and_the_folder_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_training(tmp_path)
    shown = from_point_to_point(Sweep(tmp_path))
    text = " ".join(map(str, shown.blocks))
    assert "<b>-0.2000 (" in text and "<b>-0.0020" not in text and "-0.0020 (" in text
    assert "30 to 100" in text and "100 to 1,500" in text
    for drawn in ("save_sweep_figures", "write_sweep_report"):
        monkeypatch.setattr(sweep, drawn, lambda *_: None)
    sweep.write_sweep(tmp_path)
    table = pd.read_csv(tmp_path / "neighbours.csv")
    assert list(table) == list(COLUMNS) and len(table) == len(neighbours(Sweep(tmp_path)))
    assert str(tmp_path / "neighbours.csv") in sweep.files_written(tmp_path)


def test_a_single_run_has_no_neighbours(tmp_path: Path) -> None:
    write_job(tmp_path / "a", 30)
    assert neighbours(Sweep(tmp_path)).empty
    assert from_point_to_point(Sweep(tmp_path)) is None
