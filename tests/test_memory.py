"""Memory: a sweep needs no more than its largest job, and the largest model of the paper is bounded (slow)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

pytestmark = pytest.mark.slow

MEASURE = """
from lf_experiments.__main__ import main
from lf_experiments.runs.provenance import peak_memory_bytes
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
print("peak", peak_memory_bytes())
"""


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A LLaMA of some 400 MB."""
    folder = tmp_path_factory.mktemp("heavy")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=1024, intermediate_size=4096, num_hidden_layers=6, num_attention_heads=8
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def peak(folder: Path, heavy: Path, seeds: str) -> int:
    """Peak resident memory of a sweep, in bytes."""
    folder.mkdir()
    arguments = [
        "--multirun", "model=local", f"model.path={heavy}", "tracking=none", "cache.enabled=false", f"seed={seeds}",
        "dataset.sentences=5", "stages=[capture,compare]",
    ]  # fmt: skip
    environment = {**os.environ, "LF_EXPERIMENTS_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", MEASURE, *arguments]
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return int(found.stdout.rsplit("peak", 1)[1])


def test_ten_jobs_need_no_more_memory_than_one(tmp_path: Path, heavy: Path) -> None:
    one, ten = peak(tmp_path / "one", heavy, "0"), peak(tmp_path / "ten", heavy, "range(0,10)")
    assert one > 700 * 2**20  # the model is in it
    assert ten - one < 200 * 2**20  # half a model: a tenth more or less is how the peak of a load differs from time to time


LARGE = """
import sys
from pathlib import Path

import torch

from lf_experiments.config.schema import Dtype, ModelConfig, ProbeConfig
from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.measures.carried import lrds_contribution
from lf_experiments.measures.probe import probe
from lf_experiments.measures.similarity import compare
from lf_experiments.models.load import load_reader
from lf_experiments.neurons.capture import capture_sentences
from lf_experiments.neurons.kept_capture import kept_captures
from lf_experiments.runs.provenance import peak_memory_bytes

folder, cache = Path(sys.argv[1]), Path(sys.argv[2])
texts = {f"language {number}": [f"{number} {row}" for row in range(100)] for number in range(9)}
reader = load_reader(folder, ModelConfig(name="large", path=str(folder), dtype=Dtype.float32))
loaded = peak_memory_bytes()


def make(sentences, pools, new_rows):
    return capture_sentences(reader, sentences, 1024, pools, new_rows)


sentences = ParallelSentences([str(row) for row in range(100)], texts)
activations = kept_captures(cache, sentences, ["mean"], make)["mean"]
assert len(activations.languages) == 900
sum_over_neurons, lrds = float(sum(map(torch.sum, lrds_contribution(activations)))), compare(activations).whole["lrds"]
assert abs(sum_over_neurons - lrds) < 1e-5, (sum_over_neurons, lrds)  # inner products are of numbers in float32
assert probe(activations, ProbeConfig("zscore", 2.0)).sklr > 0
print(activations.num_neurons, "peak", peak_memory_bytes() - loaded)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A quarter of the layers of llama2-70b, as wide as its, K = 573,440, on a residual stream of 8."""
    folder = tmp_path_factory.mktemp("large")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=28_672, num_hidden_layers=20, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_study_of_a_quarter_of_llama2_70b_needs_little_memory_beside_the_model(large: Path, tmp_path: Path) -> None:
    try:
        for _ in ("captured", "read from the cache"):
            command = [sys.executable, "-c", LARGE, str(large), str(tmp_path / "cache")]
            found = subprocess.run(command, capture_output=True, text=True)
            assert found.returncode == 0, found.stderr
            neurons, _, peak = found.stdout.split()
            assert int(neurons) == 573_440
            assert int(peak) < 1.2 * 2**30  # all activations are 1.92 GiB; of 40 and 80 layers 0.94 and 0.97 were measured
    finally:
        shutil.rmtree(tmp_path / "cache")
