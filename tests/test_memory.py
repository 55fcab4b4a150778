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
from lf_experiments.results.run_folder import peak_memory_bytes
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

from lf_experiments.config import Dtype, ModelConfig
from lf_experiments.measures.regions import probe
from lf_experiments.measures.similarity import compare
from lf_experiments.models.load import load_reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.kept_capture import Captured, kept_captures
from lf_experiments.results.run_folder import peak_memory_bytes

folder, cache = Path(sys.argv[1]), Path(sys.argv[2])
texts = {f"language {number}": [f"{number} {row}" for row in range(100)] for number in range(9)}


def make(texts):
    reader = load_reader(folder, ModelConfig(name="large", path=str(folder), dtype=Dtype.float32))
    h_LSN = capture(reader, texts, 1024)
    return Captured(h_LSN, torch.ones(len(texts), dtype=torch.int64), reader.num_parameters)


h_LSN = kept_captures(cache, texts, make).h_LSN
assert h_LSN.shape == (80, 900, 28672)
language_S = torch.arange(9).repeat_interleave(100)
assert compare(h_LSN, language_S, torch.arange(100).repeat(9)).similarity_SS.isfinite().all()
assert probe(h_LSN, language_S, 2.0).sklr > 0
print("peak", peak_memory_bytes())
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """As many layers and neurons as llama2-70b, K = 2,293,760, on a residual stream of 8."""
    folder = tmp_path_factory.mktemp("large")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=28_672, num_hidden_layers=80, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_study_of_llama2_70b_stays_under_12_gib(large: Path, tmp_path: Path) -> None:
    try:
        for _ in ("captured", "read from the cache"):
            command = [sys.executable, "-c", LARGE, str(large), str(tmp_path / "cache")]
            found = subprocess.run(command, capture_output=True, text=True)
            assert found.returncode == 0, found.stderr
            peak_gib = int(found.stdout.rsplit("peak", 1)[1]) / 2**30
            assert 7.7 < peak_gib < 12  # the activations alone are 7.69 GiB
    finally:
        shutil.rmtree(tmp_path / "cache")
