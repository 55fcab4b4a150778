"""What is to be measured on an accelerator runs to its end without one, on a small model (slow)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SMALL = ["--model", "pythia-70m", "--sentences", "8", "--windows", "1", "--batch-tokens", "512", "--rounds", "1"]


def test_the_measurements_of_an_accelerator_are_printed() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.accelerator", *SMALL], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    rows = {
        row[0]: [float(value) for value in row[1:]] for row in re.findall(r"\| (\w.*?) +" + r"\| +(\S+) +" * 4, found.stdout)
    }
    assert list(rows) == ["matrix product in bfloat16", "capture", "bare forward pass", "one perplexity pass"]
    peak = rows["matrix product in bfloat16"]
    for seconds, petaflop, share, _ in rows.values():
        assert seconds > 0
        assert petaflop > 0
        of_the_product = (petaflop / seconds) / (peak[1] / peak[0])
        assert 0 < share <= 1.5
        assert share / peak[2] == pytest.approx(of_the_product, rel=0.05)  # of the same peak, in three digits
    assert rows["capture"][1] == pytest.approx(rows["bare forward pass"][1], rel=0.01)
    difference = float(re.search(r"bfloat16 differs from float32 by at most (\S+)", found.stdout)[1])
    assert 0 < difference <= 1e-3


def test_the_cost_of_the_statistics_is_printed() -> None:
    small = ["--layers", "2", "--neurons", "64", "--meanings", "10"]
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.statistics_cost", *small],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    seconds = {name.strip(): float(value) for name, value in re.findall(r"^(.+?) +(-?\d+\.\d+) s$", found.stdout, re.MULTILINE)}
    parts = list(seconds.values())[2:-1]
    assert len(parts) == 3
    assert seconds["statistics together"] == pytest.approx(sum(parts), abs=0.03)
    assert float(re.search(r"(\S+) GiB", found.stdout)[1]) < 1
