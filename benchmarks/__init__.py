"""What is claimed about speed and memory, measured as ratios within one run on one machine: `python -m benchmarks`."""
