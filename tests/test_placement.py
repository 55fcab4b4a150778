"""Where the weights are changes no number: on the processor, on disk, on both; and what is passed on for several GPUs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lf_experiments.config import Dtype, InputError, ModelConfig, Quantization
from lf_experiments.evaluations.perplexity import Window, head_can_be_chunked, likelihood
from lf_experiments.models import load as load_module
from lf_experiments.models.load import Reader, load_reader, placement
from lf_experiments.neurons.capture import capture

WINDOWS = [Window(list(range(start, start + 12)), 30) for start in range(5)]
MIXED = {
    "bloom": {
        "transformer.word_embeddings": "disk",
        "transformer.word_embeddings_layernorm": "cpu",
        "transformer.h.0": "cpu",
        "transformer.h.1": "disk",
        "transformer.h.2": "cpu",
        "transformer.ln_f": "disk",
        "lm_head": "disk",
    },
    "llama": {
        "model.embed_tokens": "cpu",
        "model.layers.0": "disk",
        "model.layers.1": "disk",
        "model.layers.2": "cpu",
        "model.norm": "cpu",
        "model.rotary_emb": "cpu",
        "lm_head": "disk",
    },
}
"""Some modules in memory, some on disk."""


@pytest.fixture(params=["mixed", "all on disk", "most on disk"])
def offloaded(request: pytest.FixtureRequest, model_folder: Path, reader: Reader) -> Reader:
    """The same tiny model with weights that are not where they are computed with."""
    kind = reader.model.config.model_type
    config = ModelConfig(name="test", path=str(model_folder), dtype=Dtype.float32)
    if request.param == "mixed":
        config = replace(config, device_map=MIXED[kind])
    else:
        room = "1KB" if request.param == "all on disk" else "110KB"
        config = replace(config, device_map="auto", max_memory={"cpu": room})
    found = load_reader(model_folder, config)
    assert "disk" in found.model.hf_device_map.values()
    assert any(parameter.is_meta for parameter in found.model.parameters())
    return found


def test_activations_are_exactly_those_of_one_device(reader: Reader, offloaded: Reader, sentences: list[str]) -> None:
    assert torch.equal(capture(offloaded, sentences, 300), capture(reader, sentences, 300))


def test_perplexity_with_and_without_a_region_is_exactly_that_of_one_device(reader: Reader, offloaded: Reader) -> None:
    nothing = torch.zeros(len(reader.sites), reader.num_neurons_per_layer, dtype=torch.bool)
    half = nothing.clone()
    half[:, ::2] = True
    assert head_can_be_chunked(offloaded.model)
    for off_LN in (nothing, half):
        for chunked in (True, False):
            arguments = WINDOWS, 24, chunked, off_LN
            assert likelihood(offloaded, *arguments) == likelihood(reader, *arguments)
    assert likelihood(reader, WINDOWS, 24, True, half) != likelihood(reader, WINDOWS, 24, True, nothing)


def test_counts_are_those_of_one_device(reader: Reader, offloaded: Reader) -> None:
    assert offloaded.num_parameters == reader.num_parameters
    assert offloaded.num_neurons_per_layer == reader.num_neurons_per_layer


def test_pickles_on_disk_need_a_folder(model_folders: dict[str, Path], tmp_path: Path, load, sentences: list[str]) -> None:
    plain = load(model_folders["llama"])
    for path in model_folders["llama"].iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(plain.model.state_dict(), tmp_path / "pytorch_model.bin")
    config = ModelConfig(name="test", path=str(tmp_path), dtype=Dtype.float32, device_map=MIXED["llama"])
    with pytest.raises(InputError, match="offload_folder"):
        load_reader(tmp_path, config)
    offloaded = load_reader(tmp_path, replace(config, offload_folder=str(tmp_path / "offloaded")))
    assert torch.equal(capture(offloaded, sentences, 300), capture(plain, sentences, 300))


def test_a_placement_that_there_is_none_of_is_refused(model_folders: dict[str, Path]) -> None:
    config = ModelConfig(name="test", path=str(model_folders["llama"]), device_map="everywhere")
    with pytest.raises(InputError, match="it cannot be loaded: .*everywhere"):
        load_reader(model_folders["llama"], config)


FREE = {0: 70, 1: 71, 2: 72, 3: 73, "cpu": 400}


@pytest.mark.parametrize(
    ("present", "gpus", "config", "device_map", "max_memory"),
    [
        (0, None, {}, "cpu", None),
        (1, None, {}, "cuda:0", None),
        (4, None, {}, "auto", None),
        (4, None, {"device_map": "balanced"}, "balanced", None),
        (4, None, {"max_memory": {0: "5GiB", "cpu": "9GiB"}}, "auto", {0: "5GiB", "cpu": "9GiB"}),
        (4, [2, 3], {}, "auto", {2: 72, 3: 73, "cpu": 400}),
        (4, [3], {}, "cuda:3", {3: 73, "cpu": 400}),
        (4, [0, 1], {"max_memory": {1: "5GiB", 2: "5GiB"}}, "auto", {1: "5GiB"}),
        (1, None, {"device_map": "auto"}, "auto", None),
    ],
)
def test_the_model_keeps_to_its_gpus(
    present: int, gpus: list[int] | None, config: dict, device_map: str, max_memory: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module.torch.cuda, "device_count", lambda: present)
    monkeypatch.setattr(load_module, "get_max_memory", lambda: dict(FREE))
    found = placement(ModelConfig(name="test", **config), gpus)
    assert (found["device_map"], found["max_memory"]) == (device_map, max_memory)


def test_the_memory_that_was_given_is_left_as_it_is(model_folders: dict[str, Path]) -> None:
    room = {"cpu": "1GB"}
    config = ModelConfig(name="test", path=str(model_folders["llama"]), device_map="auto", max_memory=room)
    load_reader(model_folders["llama"], config)
    assert room == {"cpu": "1GB"}


def test_quantization_without_bitsandbytes_says_what_to_install(
    model_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "find_spec", lambda _: None)
    config = ModelConfig(name="test", path=str(model_folders["llama"]), quantization=Quantization.nf4)
    with pytest.raises(InputError, match=r"model.quantization=nf4: .*\nRemedy: pip install 'lf_experiments\[quantization\]'"):
        load_reader(model_folders["llama"], config)


@pytest.mark.parametrize(
    ("dtype", "kind", "expected"),
    [
        (Dtype.auto, Quantization.int8, {"load_in_8bit": True}),
        (Dtype.auto, Quantization.nf4, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
        (Dtype.float16, Quantization.nf4, {"bnb_4bit_compute_dtype": torch.float16}),
    ],
)
def test_quantized_weights_are_asked_for_and_warned_of(
    dtype: Dtype, kind: Quantization, expected: dict, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(load_module, "find_spec", lambda name: name)
    found = load_module.quantization(ModelConfig(name="test", dtype=dtype, quantization=kind))["quantization_config"]
    assert {name: getattr(found, name) for name in expected} == expected
    assert f"the weights are quantized ({kind.name})" in caplog.text
