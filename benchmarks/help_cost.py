"""The first answer: `--help` against the import of Hydra, which every command of Hydra pays."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.ratios import Ratio, time_ratio


def ratios(rounds: int) -> list[Ratio]:
    """How many times as long `--help` takes as `import hydra`, each in a Python of its own."""
    return [
        time_ratio(
            "python -m lf_experiments --help / python -c 'import hydra'",
            "at most 2.5",
            lambda: python("-m", "lf_experiments", "--help"),
            lambda: python("-c", "import hydra"),
            rounds,
        )
    ]


def python(*arguments: str) -> None:
    """Run Python in a process of its own."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
