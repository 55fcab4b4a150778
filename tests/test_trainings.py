"""Several trainings of the same grown model: lines of their own, and what differs between them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import edit, write_job
from scipy import stats

from lf_experiments.report.of_sweep import between_trainings
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.tables import read_json
from lf_experiments.runs.trainings import LAST_LESS_FIRST, over_trainings, trainings

STEPS = (30, 100, 1500)
SEEDS = (0, 1, 2)


def write_trainings(root: Path, seeds: tuple[int, ...] = SEEDS) -> dict[tuple[int, int], float]:
    """Jobs of several seeds at several steps; returns their LRDS."""
    random, lrds = np.random.default_rng(0), {}
    for seed in seeds:
        for place, step in enumerate(STEPS):
            folder = write_job(root / f"seed{seed}-step{step}", step, fingerprint=f"{seed}-{step}")
            config = read_json(folder / "run.json")["config"]
            config["model"] |= {"recipe": {"seed": seed, "layers": 3}}
            edit(folder / "run.json", config=config)
            lrds[seed, step] = 0.6 - 0.1 * place + float(random.normal(0, 0.02))
            edit(folder / "metrics.json", lrds=lrds[seed, step])
    return lrds


def test_each_training_is_a_line_of_its_own(tmp_path: Path) -> None:
    write_trainings(tmp_path)
    sweep = Sweep(tmp_path)
    assert set(sweep.lines()) == {f"bloom-nano, model.recipe.seed={seed}" for seed in SEEDS}
    assert {name: len(lines) for name, lines in trainings(sweep).items()} == {"bloom-nano": 3}


def test_the_spread_between_trainings_by_hand(tmp_path: Path) -> None:
    lrds = write_trainings(tmp_path)
    (lines,) = trainings(Sweep(tmp_path)).values()
    table = over_trainings(lines)
    assert table["training_step"].tolist() == [*STEPS, LAST_LESS_FIRST]
    for row, step in enumerate(STEPS):
        values = np.array([lrds[seed, step] for seed in SEEDS])
        interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        found = table.loc[row]
        assert found["lrds"] == pytest.approx(values.mean())
        assert found["lrds_sd"] == pytest.approx(values.std(ddof=1))
        assert (found["lrds_lo"], found["lrds_hi"]) == pytest.approx((interval.low, interval.high))
    changes = np.array([lrds[seed, 1500] - lrds[seed, 30] for seed in SEEDS])
    interval = stats.ttest_1samp(changes, 0).confidence_interval(0.95)
    assert table["lrds"].iloc[-1] == pytest.approx(changes.mean())
    assert (table["lrds_lo"].iloc[-1], table["lrds_hi"].iloc[-1]) == pytest.approx((interval.low, interval.high))


def test_the_report_tells_them_and_one_training_has_nothing_to_tell(tmp_path: Path) -> None:
    write_trainings(tmp_path / "several")
    write_trainings(tmp_path / "one", seeds=(0,))
    shown = between_trainings(Sweep(tmp_path / "several"))
    assert shown.title == "Between trainings"
    text = " ".join(map(str, shown.blocks))
    assert "bloom-nano, 3 trainings" in text
    assert LAST_LESS_FIRST in text
    assert between_trainings(Sweep(tmp_path / "one")) is None
    assert list(Sweep(tmp_path / "one").lines()) == ["bloom-nano"]


def test_a_model_that_is_not_grown_makes_no_variant_of_the_others(tmp_path: Path) -> None:
    write_trainings(tmp_path, seeds=(0,))
    write_job(tmp_path / "hub", None, "bloom-560m", 559_214_592)
    assert set(Sweep(tmp_path).table["variant"]) == {""}
    assert isinstance(Sweep(tmp_path).table, pd.DataFrame)
