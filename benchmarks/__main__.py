"""Run every benchmark and print one table of ratios: `python -m benchmarks [--rounds N]`."""

from __future__ import annotations

import argparse
import platform

import torch
from tabulate import tabulate

from benchmarks import capture_cost, contribution_scores, perplexity_head
from benchmarks.ratios import HEADER


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each pair is timed")
    rounds = parser.parse_args().rounds
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    measured = [ratio for module in (contribution_scores, perplexity_head, capture_cost) for ratio in module.ratios(rounds)]
    print(tabulate([ratio.row for ratio in measured], HEADER, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
