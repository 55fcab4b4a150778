"""A run whose capture is kept against the same run without: another threshold on a model of the shape of bloom-560m."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks import bloom_560m
from benchmarks.ratios import Ratio, seconds_of
from lf_experiments.models.nano.growth import training_sentences
from lf_experiments.models.nano.tokenizer import trained_tokenizer


def ratios(_: int) -> list[Ratio]:
    """The whole command, from 900 sentences to key regions, once cold and then three times with other thresholds."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        bloom_560m.reader(torch.float32).model.save_pretrained(model)
        trained_tokenizer(training_sentences(), 1000, 2048).save_pretrained(model)
        cold = seconds_of(lambda: run(Path(folder), model, 2.0))
        kept = [seconds_of(lambda threshold=threshold: run(Path(folder), model, threshold)) for threshold in (1.5, 1.8, 2.2)]
    detail = f"{cold:.3g} s against {sorted(kept)[1]:.3g} s"
    name = "run without / with its capture kept, 900 sentences, shape of bloom-560m"
    return [Ratio(name, "at least 10", [cold / seconds for seconds in kept], detail)]


def run(folder: Path, model: Path, threshold: float) -> None:
    """One command, in a process of its own."""
    arguments = [
        "model=local", f"model.path={model}", f"probe.threshold={threshold}", "stages=[capture,compare,probe]",
        f"hydra.run.dir={folder}/threshold{threshold}",
    ]  # fmt: skip
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "lf_experiments", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
