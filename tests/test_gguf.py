"""GGUF files: what they hold, what is said of them, and a real one from its file to a deactivation.

LF_EXPERIMENTS_REAL_MODELS names the folder with NAME.gguf beside NAME/, its weights dequantized; by default ../shared/real.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lf_experiments as lf
from lf_experiments import __main__ as command
from lf_experiments.config.schema import CacheConfig, CheckpointConfig, Config, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models import quantized
from lf_experiments.models.checkpoints import fetch_checkpoint
from lf_experiments.models.files import is_gguf, matching_files, place_of, weight_files
from lf_experiments.models.number_format import number_format
from lf_experiments.models.quantized import stored_quantization

MODELS = Path(os.environ.get("LF_EXPERIMENTS_REAL_MODELS", Path(__file__).parents[2] / "shared" / "real"))
SMALLEST = MODELS / "smollm2-135m.gguf"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is GGUF by its name."""
    path = tmp_path / "tiny.Q4_0.gguf"
    path.write_bytes(b"GGUF, and no more")
    return path


def at(path: Path) -> Config:
    return Config(model=ModelConfig(name="x", path=str(path)), checkpoint=CheckpointConfig(None), cache=CacheConfig())


def test_a_gguf_file_stands_for_a_folder(file: Path) -> None:
    assert is_gguf(file) and weight_files(file) == matching_files(file, ("tokenizer*",)) == [file]
    assert place_of(file) == {"pretrained_model_name_or_path": file.parent, "gguf_file": "tiny.Q4_0.gguf"}
    assert (stored_quantization(file), number_format(file, at(file).model)) == ("gguf", "float32")
    assert not is_gguf(file.parent) and place_of(file.parent) == {"pretrained_model_name_or_path": file.parent}


def test_without_the_package_the_message_says_how_to_install_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "find_spec", lambda _: None)
    with pytest.raises(InputError) as info:
        fetch_checkpoint(at(file))
    assert str(info.value) == (
        f"model.path={file}: a GGUF file is read with the package gguf, which is not installed\n"
        "Remedy: pip install 'lf_experiments[gguf]'"
    )


@pytest.mark.parametrize("name", ["missing.gguf", "weights.bin"])
def test_a_file_that_is_not_there_or_not_gguf_is_refused(name: str, file: Path) -> None:
    file.with_name("weights.bin").write_bytes(b"weights")
    with pytest.raises(InputError, match="there is no such folder\nRemedy: give a folder in Hugging Face layout, or a .gguf"):
        fetch_checkpoint(at(file.with_name(name)))


@pytest.mark.skipif(find_spec("gguf") is None, reason="gguf is not installed")
def test_a_file_with_that_name_and_other_content_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)model.path=.*tiny.Q4_0.gguf: it cannot be loaded"):
        lf.load(file)


# A real file --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run on a file, and one on the folder with its weights dequantized."""
    if find_spec("gguf") is None or not SMALLEST.is_file() or not SMALLEST.with_suffix("").is_dir():
        pytest.skip(f"{SMALLEST}, its folder or the package gguf is not here")
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        for number, path in enumerate((SMALLEST, SMALLEST.with_suffix(""))):
            folder = tmp_path_factory.mktemp("gguf") / "run"
            patch.setenv("LF_EXPERIMENTS_CACHE", str(tmp_path_factory.mktemp(f"cache{number}")))
            few = [
                "language_set.languages=[en,fr]",
                "dataset.sentences=6",
                "text.window=32",
                "text.windows=1",
                "control.draws=1",
            ]
            stages = ["stages=[capture,compare,probe,deactivate]", "probe.threshold=0.5", "uncertainty=none", "tracking=none"]
            arguments = ["model=local", f"model.path={path}", f"hydra.run.dir={folder}", *few, *stages]
            patch.setattr(sys, "argv", ["lf_experiments", *arguments])
            command.main()
            folders.append(folder)
    return folders


@pytest.mark.slow
def test_a_real_file_is_read_to_its_end_and_its_name_and_method_are_in_the_record(runs: list[Path]) -> None:
    record = json.loads((runs[0] / "run.json").read_text())
    assert record["status"] == "done"
    assert record["model"]["stored_quantization"] == "gguf" and record["model"]["dtype"] == "float32"
    assert any("published quantized (gguf)" in warning for warning in record["warnings"])
    assert json.loads((runs[0] / "metrics.json").read_text())["model"] == "smollm2-135m"


@pytest.mark.slow
def test_a_real_file_gives_the_numbers_of_its_dequantized_folder(runs: list[Path]) -> None:
    of_file, of_folder = (np.load(run / "similarity.npy") for run in runs)
    np.testing.assert_allclose(of_file, of_folder, atol=1e-5)
    for name in ("layers.csv", "perplexity.csv"):
        of_file, of_folder = (pd.read_csv(run / name).select_dtypes("number") for run in runs)
        np.testing.assert_allclose(of_file, of_folder, rtol=1e-4, atol=1e-5)
    assert (pd.read_csv(runs[0] / "perplexity.csv")["increase_percent"].abs() > 0.01).any()
