"""Where the weights are changes no number: on the processor, on disk, on both; and what is passed on for several GPUs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded import captured
from scored import likelihood

from lf_experiments.config.schema import Dtype, ModelConfig, Quantization
from lf_experiments.errors import InputError
from lf_experiments.evaluations.losses import head_can_be_chunked
from lf_experiments.evaluations.windows import Window
from lf_experiments.models import devices, quantized
from lf_experiments.models.devices import placement
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.models.number_format import loaded_format
from lf_experiments.neurons.interventions import Intervention, nothing
from lf_experiments.neurons.words import written_words
from lf_experiments.plan.placement import number_of

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
    assert torch.equal(captured(offloaded, sentences, 300), captured(reader, sentences, 300))


def test_perplexity_with_and_without_a_region_is_exactly_that_of_one_device(reader: Reader, offloaded: Reader) -> None:
    full, half = nothing(reader.widths), Intervention("half", [torch.arange(width) % 2 == 0 for width in reader.widths])
    assert head_can_be_chunked(offloaded)
    for under in (full, half):
        for chunked in (True, False):
            arguments = WINDOWS, 24, chunked, under
            assert likelihood(offloaded, *arguments) == likelihood(reader, *arguments)
    assert likelihood(reader, WINDOWS, 24, True, half) != likelihood(reader, WINDOWS, 24, True, full)


def test_the_words_of_neurons_are_those_of_one_device(reader: Reader, offloaded: Reader) -> None:
    words = written_words(offloaded, [0, 0, 1], [0, 23, 17])
    assert words == written_words(reader, [0, 0, 1], [0, 23, 17])
    assert all(words)


def test_counts_are_those_of_one_device(reader: Reader, offloaded: Reader) -> None:
    assert offloaded.num_parameters == reader.num_parameters
    assert offloaded.widths == reader.widths


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
    assert torch.equal(captured(offloaded, sentences, 300), captured(plain, sentences, 300))


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
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: present)
    monkeypatch.setattr(devices, "get_max_memory", lambda: dict(FREE))
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
    monkeypatch.setattr(quantized, "find_spec", lambda _: None)
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
    monkeypatch.setattr(quantized, "find_spec", lambda name: name)
    found = quantized.quantization(ModelConfig(name="test", dtype=dtype, quantization=kind))["quantization_config"]
    assert {name: getattr(found, name) for name in expected} == expected
    assert f"the weights are quantized ({kind.name})" in caplog.text


# What accelerates beside GPUs of NVIDIA and AMD -----------------------------------------------------------------------------


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose accelerator is that of a Mac, as torch tells it."""
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(devices.torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(devices.torch.accelerator, "current_accelerator", lambda: torch.device("mps"))


@pytest.mark.usefixtures("mac")
def test_a_model_goes_to_the_accelerator_there_is_in_the_format_it_is_stored_in() -> None:
    config = ModelConfig(name="test", path="/m")
    assert placement(config, None)["device_map"] == placement(config, [])["device_map"] == "mps"
    assert placement(replace(config, device_map="cpu"), None)["device_map"] == "cpu"
    assert loaded_format("bfloat16", config, is_quantized=False) == "bfloat16"
    devices.refuse_missing_devices("mps")


@pytest.mark.usefixtures("mac")
def test_a_plan_counts_its_memory_as_that_of_the_host() -> None:
    assert [number_of(device, []) for device in ("mps", "mps:0", "cpu", "disk")] == ["cpu", "cpu", "cpu", "disk"]


def test_an_accelerator_that_is_not_here_is_refused() -> None:
    assert placement(ModelConfig(name="test", path="/m"), [])["device_map"] == "cpu"
    with pytest.raises(InputError, match="model.device_map=mps: it cannot be loaded: there is no device mps"):
        devices.refuse_missing_devices("mps")
