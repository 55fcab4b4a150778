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
    for seconds, petaflop, share, _ in rows.values():
        assert seconds > 0
        assert petaflop > 0
        assert 0 < share <= 1.5
    assert rows["capture"][1] == pytest.approx(rows["bare forward pass"][1], rel=0.01)
    difference = float(re.search(r"bfloat16 differs from float32 by at most (\S+)", found.stdout)[1])
    assert 0 < difference <= 1e-3
