"""Memory: a sweep needs no more than its largest job (slow)."""

import os
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
    assert ten <= 1.1 * one, ten / one
