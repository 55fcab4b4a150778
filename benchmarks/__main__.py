"""Run every benchmark and print one table of ratios: `python -m benchmarks [--rounds N]`."""

from __future__ import annotations

import argparse
import platform

import torch
from tabulate import tabulate

from benchmarks import (
    capture_cost,
    contribution_scores,
    experts_cost,
    help_cost,
    kept_capture_cost,
    methods_cost,
    perplexity_head,
    side_by_side,
)
from benchmarks.ratios import HEADER

MODULES = (
    help_cost,
    contribution_scores,
    perplexity_head,
    capture_cost,
    experts_cost,
    kept_capture_cost,
    methods_cost,
    side_by_side,
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each pair is timed")
    names = [module.__name__.rpartition(".")[2] for module in MODULES]
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="which benchmarks to run")
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    chosen = [module for module, name in zip(MODULES, names, strict=True) if name in given.only]
    measured = [ratio for module in chosen for ratio in module.ratios(given.rounds)]
    print(tabulate([ratio.row for ratio in measured], HEADER, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
