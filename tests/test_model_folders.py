"""Model folders: which files count, what their fingerprints depend on, and how their weights are loaded."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded import captured
from safetensors.torch import load_file, save_file
from torch import nn

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models import load as load_module
from lf_experiments.models import number_format as number_format_module
from lf_experiments.models.devices import (
    format_to_compute_with,
    is_on_processor,
    processor_features,
    refuse_missing_devices,
)
from lf_experiments.models.files import weight_files
from lf_experiments.models.fingerprints import configuration_fingerprint, tokenizer_fingerprint, weight_fingerprint
from lf_experiments.models.foreign import explained_errors
from lf_experiments.models.load import load_reader
from lf_experiments.models.number_format import number_format, stored_format
from lf_experiments.models.quantized import stored_quantization
from lf_experiments.models.verification import refuse_unused_weights


@pytest.fixture
def folder(model_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A tiny LLaMA of its own for a test that changes it."""
    return Path(shutil.copytree(model_folders["llama"], tmp_path / "model"))


def configure(folder: Path, **values: object) -> None:
    """Change values of config.json; None removes one."""
    path = folder / "config.json"
    changed = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))


def write_index(folder: Path, *names: str, suffix: str = "model.safetensors") -> None:
    """Write an index that names these files."""
    weight_map = {f"weight {number}": name for number, name in enumerate(names)}
    (folder / f"{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


# Files ----------------------------------------------------------------------------------------------------------------------


def test_the_files_of_the_weights_are_the_usual_ones_and_those_an_index_names(tmp_path: Path) -> None:
    for name in ("pytorch_model-1.bin", "odd.bin", "training_args.bin", "model.h5"):
        (tmp_path / name).touch()
    assert names(weight_files(tmp_path)) == ["pytorch_model-1.bin"]
    write_index(tmp_path, "odd.bin", suffix="pytorch_model.bin")
    assert names(weight_files(tmp_path)) == ["odd.bin", "pytorch_model-1.bin"]
    (tmp_path / "odd.safetensors").touch()
    write_index(tmp_path, "odd.safetensors")
    assert names(weight_files(tmp_path)) == ["odd.safetensors"]
    (tmp_path / "model.safetensors").touch()
    assert names(weight_files(tmp_path)) == ["model.safetensors", "odd.safetensors"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/passwd", "takes weights from /etc/passwd, which is outside of the folder\nRemedy: use the index"),
        ("../model.safetensors", "which is outside of the folder"),
        ("parts/../../model.safetensors", "which is outside of the folder"),
        ("missing.safetensors", "names missing.safetensors, which it does not have\nRemedy: download the files"),
    ],
)
def test_an_index_stays_in_its_folder(tmp_path: Path, name: str, said: str) -> None:
    write_index(tmp_path, name)
    with pytest.raises(InputError, match=f"model.path={tmp_path}: .*{said}"):
        weight_files(tmp_path)


# Fingerprints ---------------------------------------------------------------------------------------------------------------


def test_a_fingerprint_of_weights_is_of_every_file_that_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "odd.safetensors").write_bytes(b"weights")
    write_index(tmp_path, "odd.safetensors")
    before = weight_fingerprint(tmp_path)
    (tmp_path / "odd.safetensors").write_bytes(b"WEIGHTS")
    assert weight_fingerprint(tmp_path) != before


def test_a_fingerprint_of_weights_takes_digests_from_where_it_is_told(folder: Path) -> None:
    read: list[str] = []

    def digest_of(path: Path) -> bytes:
        read.append(path.name)
        return b"digest"

    weight_fingerprint(folder, digest_of)
    assert read == ["model.safetensors"]


def changed(folder: Path, change: Callable[[Path], object], trust: bool = False) -> bool:
    """Whether a change of the folder changes the fingerprint of its configuration."""
    before = configuration_fingerprint(folder, trust)
    change(folder)
    return configuration_fingerprint(folder, trust) != before


def test_a_fingerprint_of_the_configuration_is_of_what_numbers_depend_on(folder: Path) -> None:
    assert changed(folder, lambda folder: configure(folder, rms_norm_eps=0.1))
    assert changed(folder, lambda folder: configure(folder, quantization_config={"quant_method": "fp8"}))
    assert changed(folder, lambda folder: write_index(folder, "model.safetensors"))
    assert not changed(folder, lambda folder: configure(folder, transformers_version="4.0", _name_or_path="elsewhere"))
    assert not changed(folder, lambda folder: configure(folder))


def test_code_counts_where_it_is_run(folder: Path) -> None:
    def code(text: str) -> Callable[[Path], object]:
        return lambda folder: (folder / "modeling.py").write_text(text)

    assert not changed(folder, code("a"))
    assert changed(folder, code("b"), trust=True)


def test_a_fingerprint_of_a_tokenizer_is_of_its_files(folder: Path) -> None:
    before = tokenizer_fingerprint(folder)
    (folder / "config.json").unlink()
    assert tokenizer_fingerprint(folder) == before
    (folder / "added_tokens.json").write_text("{}")
    assert tokenizer_fingerprint(folder) != before


# Number formats -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "features", "expected"),
    [
        ("bfloat16", "avx2 avx512f", "float32"),
        ("bfloat16", "avx512f avx512_bf16", "bfloat16"),
        ("bfloat16", "amx_bf16 amx_tile", "bfloat16"),
        ("bfloat16", "asimd bf16", "bfloat16"),
        ("float16", "avx512f avx512_bf16", "float32"),
        ("float16", "avx512_fp16", "float16"),
        ("float32", "", "float32"),
        ("auto", "", "auto"),
    ],
)
def test_a_processor_computes_in_a_format_it_has_units_for(stored: str, features: str, expected: str) -> None:
    assert format_to_compute_with(stored, frozenset(features.split())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name : EPYC\nflags\t\t: fpu avx2 avx512_bf16\n", {"fpu", "avx2", "avx512_bf16"}),
        ("processor : 0\nFeatures\t: fp asimd bf16\n", {"fp", "asimd", "bf16"}),
        ("processor : 0\n", set()),
    ],
)
def test_the_features_of_a_processor_are_read_from_linux(tmp_path: Path, text: str, expected: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor_features(tmp_path / "cpuinfo") == expected
    assert processor_features(tmp_path / "missing") == set()


def test_the_stored_format_is_that_of_the_configuration_or_of_the_weights(folder: Path) -> None:
    assert stored_format(folder) == "float32"
    configure(folder, dtype=None, torch_dtype="torch.float16")
    assert stored_format(folder) == "float16"
    configure(folder, torch_dtype=None)
    path = folder / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    assert stored_format(folder) == "bfloat16"
    torch.save({}, folder / "pytorch_model.bin")
    path.unlink()
    assert stored_format(folder) == "auto"


@pytest.mark.parametrize("name", ["float8", "int8", "float8_e4m3fn", "nn", "seven"])
def test_a_format_in_which_nothing_can_be_computed(folder: Path, name: str) -> None:
    configure(folder, dtype=name)
    with pytest.raises(InputError, match=rf"model.path=.*: config.json gives {name} .*\nRemedy: correct config.json"):
        stored_format(folder)


@pytest.fixture
def halved(folder: Path) -> ModelConfig:
    """A model whose weights are stored in bfloat16."""
    path = folder / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    configure(folder, dtype="bfloat16")
    return ModelConfig(name="halved", path=str(folder))


def test_weights_are_loaded_in_the_format_that_the_processor_is_fast_with(
    halved: ModelConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="lf_experiments")
    folder = Path(halved.path)
    for features, expected in (("avx2", torch.float32), ("avx512_bf16", torch.bfloat16)):
        caplog.clear()
        monkeypatch.setattr(number_format_module, "processor_features", lambda features=features: frozenset([features]))
        assert load_reader(folder, halved).model.dtype is expected
        said = "weights stored in bfloat16 are loaded in float32" in caplog.text
        assert said == (expected is torch.float32)
    monkeypatch.setattr(number_format_module, "processor_features", frozenset)
    assert number_format(folder, replace(halved, dtype=Dtype.bfloat16)) == "bfloat16"
    assert number_format(folder, replace(halved, device_map="cuda:0")) == "bfloat16"
    configure(folder, quantization_config={"quant_method": "fp8"})
    assert number_format(folder, halved) == "bfloat16"


def test_weights_of_bfloat16_lose_nothing_in_float32(halved: ModelConfig) -> None:
    wide = load_reader(Path(halved.path), replace(halved, dtype=Dtype.float32))
    near = load_reader(Path(halved.path), replace(halved, dtype=Dtype.bfloat16))
    for parameter, stored in zip(wide.model.parameters(), near.model.parameters(), strict=True):
        assert torch.equal(parameter, stored.float())


# Devices --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device_map", ["cuda:2", "cuda:99", {"model": "cpu", "lm_head": "cuda:7"}, "everywhere", "meta", "nowhere:1"]
)
def test_devices_that_are_not_here_are_refused(device_map: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"model.device_map=.*: .*there is no .*\nRemedy: leave model.device_map out"):
        refuse_missing_devices(device_map)


@pytest.mark.parametrize("device_map", [None, "auto", "balanced", "sequential", "cpu", "cuda", "cuda:1", 0, {"model": "disk"}])
def test_devices_that_are_here_are_not(device_map: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refuse_missing_devices(device_map)


def test_what_computes_on_the_processor_alone() -> None:
    assert is_on_processor("cpu")
    assert is_on_processor({"a": "cpu", "b": "disk"})
    assert not is_on_processor({"a": "cpu", "b": "cuda:0"})
    assert is_on_processor("auto") == (not torch.accelerator.is_available())


# What was loaded ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_weights_of_layers_that_the_configuration_does_not_count(
    prefix: str, model_folders: dict[str, Path], load, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(model_folders["bloom"]).model
    with pytest.raises(InputError, match="it has weights of 5 layers, but config.json counts 3\nRemedy: use the config.json"):
        refuse_unused_weights({f"{prefix}h.3.mlp.weight", f"{prefix}h.4.mlp.weight"}, model, Path("/m"))
    refuse_unused_weights({"vision.h.9.weight", "score.weight", f"{prefix}ln_g.weight"}, model, Path("/m"))
    assert not caplog.messages
    refuse_unused_weights({f"{prefix}h.2.mlp.gate.weight"}, model, Path("/m"))
    assert caplog.messages == [f"1 weights in /m belong to no part of its layers, such as {prefix}h.2.mlp.gate.weight"]


def test_quantized_weights_are_warned_of_and_read_whole_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read: list[nn.Module] = []
    monkeypatch.setattr(load_module, "read_one_token", read.append)
    config = ModelConfig(name="model", path=str(folder))
    load_reader(folder, config)
    assert (read, caplog.messages, stored_quantization(folder)) == ([], [], None)
    configure(folder, quantization_config={"quant_method": "wonder"})
    reader = load_reader(folder, config)
    assert read == [reader.model]
    assert "the weights were published quantized (wonder)" in caplog.messages[0]
    assert stored_quantization(folder) == "wonder"


def test_weights_that_are_restored_in_the_first_pass_of_the_whole_model(folder: Path, sentences: list[str]) -> None:
    pytest.importorskip("compressed_tensors")
    whole = captured(load_reader(folder, ModelConfig(name="whole", path=str(folder))), sentences, 300)
    compressed = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        compressed[name] = tensor.bfloat16()
        if "_proj" in name:
            scale = tensor.abs().max() / 448
            compressed[name] = (tensor / scale).to(torch.float8_e4m3fn)
            compressed[f"{name}_scale"] = scale.reshape(1).bfloat16()
    save_file(compressed, folder / "model.safetensors", metadata={"format": "pt"})
    scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True, "dynamic": False}
    settings = {"quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed"}
    groups = {"group_0": {"targets": ["Linear"], "weights": scheme}}
    configure(folder, dtype="bfloat16", quantization_config={**settings, "ignore": ["lm_head"], "config_groups": groups})
    found = captured(load_reader(folder, ModelConfig(name="compressed", path=str(folder))), sentences, 300)
    assert torch.nn.functional.cosine_similarity(found.flatten(1), whole.flatten(1)).min() > 0.98


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("CUDA out of memory. Tried to allocate"),
            "it does not fit into memory\nRemedy: use model.dtype=bfloat16",
        ),
        (MemoryError(), "it does not fit into memory"),
        (KeyError("added_tokens"), "it cannot be loaded: KeyError: 'added_tokens'"),
        (ValueError("odd\n  things"), "it cannot be loaded: odd things"),
        (ValueError("x" * 999), "x{297}\\.\\.\\.\n"),
    ],
)
def test_an_error_of_a_library_is_an_input_error(tmp_path: Path, error: Exception, said: str) -> None:
    with pytest.raises(InputError, match=said) as found, explained_errors("model.path", tmp_path):
        raise error
    assert found.value.__cause__ is error


def test_an_error_of_ours_is_not_translated(tmp_path: Path) -> None:
    ours = InputError("model", "m", "no", "yes")
    with pytest.raises(InputError) as found, explained_errors("model.path", tmp_path):
        raise ours
    assert found.value is ours
