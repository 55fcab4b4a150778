"""On a GPU is found what a processor finds, with every architecture, also where memory runs out (`make test-gpu`)."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from mixtures import SETTINGS as MIXTURES
from mixtures import tiny_mixture
from same_numbers import assert_same_numbers
from test_families import CASES, tiny_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

import lf_experiments as lf
from lf_experiments.config.schema import Dtype, ModelConfig, Quantization
from lf_experiments.errors import InputError
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.perplexity import measure_perplexity
from lf_experiments.evaluations.windows import Window
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.interventions import Intervention

pytestmark = pytest.mark.gpu

ROUNDING = 1e-5
"""What another order of summation may change in float32, over a few layers."""

ACROSS_0 = 0.005
"""Of so many neurons rounding may change how often they are above 0: of one of 240 in a sentence it did."""
UNCAPPED = dict.fromkeys(["gemma2", "gemma3n_text"], {"final_logit_softcapping": 50.0})
"""Capped at 2, as elsewhere in the tests, many logits are 2, and rounding decides which of them is the highest."""

Save = Callable[[PreTrainedModel], Path]


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    assert torch.cuda.is_available(), "make test-gpu needs a GPU that torch can use"


@pytest.fixture
def save(awakened: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Save:
    """Saves a model, with weights at which neurons differ, and its tokenizer."""

    def save_awakened(model: PreTrainedModel) -> Path:
        awakened(model).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return save_awakened


def read(folder: Path, **settings: object) -> Reader:
    return load_reader(folder, ModelConfig(name=folder.name, path=str(folder), **settings))


def both(folder: Path) -> tuple[Reader, Reader]:
    """The model on the GPU, where it goes by itself, and on the processor."""
    on_gpu, on_processor = read(folder), read(folder, device_map="cpu")
    assert {parameter.device.type for parameter in on_gpu.model.parameters()} == {"cuda"}
    assert {parameter.device.type for parameter in on_processor.model.parameters()} == {"cpu"}
    return on_gpu, on_processor


@pytest.mark.parametrize("name", CASES)
def test_an_architecture_gives_what_it_gives_on_the_processor(name: str, save: Save, sentences: list[str]) -> None:
    model_type, settings = CASES[name]
    model = tiny_model(model_type, **{**settings, **UNCAPPED.get(model_type, {})})
    assert_same_numbers(*both(save(model)), sentences[:6], ROUNDING, ACROSS_0)


@pytest.mark.parametrize("model_type", sorted(MIXTURES))
def test_a_mixture_gives_what_it_gives_on_the_processor(model_type: str, save: Save, sentences: list[str]) -> None:
    assert_same_numbers(
        *both(save(AutoModelForCausalLM.from_config(tiny_mixture(model_type)))), sentences[:6], ROUNDING, ACROSS_0
    )


@pytest.mark.parametrize("width", [12, 16])  # the rows of the matrices begin at multiples of 16 bytes, or they do not
@pytest.mark.parametrize("model_type", ["mixtral", "olmoe", "gpt_oss"])
def test_a_mixture_in_bfloat16_gives_what_its_weights_give_in_float32(
    model_type: str, width: int, save: Save, sentences: list[str]
) -> None:
    folder = save(AutoModelForCausalLM.from_config(tiny_mixture(model_type, intermediate_size=width)).to(torch.bfloat16))
    on_gpu, exact = read(folder, dtype=Dtype.bfloat16), read(folder, device_map="cpu", dtype=Dtype.float32)
    assert on_gpu.model.dtype == torch.bfloat16
    found, expected = (torch.cat(capture(reader, sentences[:6], 300)["mean"], dim=1) for reader in (on_gpu, exact))
    unlike_S = 1 - torch.cosine_similarity(found, expected)
    assert unlike_S.median() < 1e-3  # a token that is routed to another expert for rounding changes a short sentence


@pytest.mark.parametrize("on_gpu", [["model.embed_tokens", "model.layers.0"], ["model.layers.1", "model.norm", "lm_head"]])
def test_layers_that_are_elsewhere_than_others_give_the_same(
    on_gpu: list[str], model_folders: dict[str, Path], sentences: list[str]
) -> None:
    folder = model_folders["llama"]
    parts = [
        "model.embed_tokens",
        "model.rotary_emb",
        *(f"model.layers.{layer}" for layer in range(3)),
        "model.norm",
        "lm_head",
    ]
    spread = read(folder, device_map={part: "cuda:0" if part in on_gpu else "cpu" for part in parts})
    assert_same_numbers(spread, read(folder, device_map="cpu"), sentences[:6], ROUNDING, ACROSS_0)


@pytest.mark.parametrize(("kind", "least"), [(Quantization.int8, 0.99), (Quantization.nf4, 0.85)])
def test_weights_in_fewer_bits_give_nearly_the_same(kind: Quantization, least: float, save: Save, sentences: list[str]) -> None:
    pytest.importorskip("bitsandbytes")
    sizes = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    folder = save(LlamaForCausalLM(LlamaConfig(vocab_size=330, **sizes)))
    few, whole = read(folder, quantization=kind), read(folder, device_map="cpu")
    near, exact = (torch.cat(capture(reader, sentences, 300)["mean"], dim=1) for reader in (few, whole))
    assert not torch.equal(near, exact)
    assert torch.cosine_similarity(near, exact).min() > least
    off = Intervention("en", [torch.ones(192, dtype=torch.bool)] * 2)
    windows = {"en": [Window(list(range(12)), 30)]}
    losses = [measure_perplexity(reader, [off], windows, 24, KeptCells())["nll"][0] for reader in (few, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # without neurons only the attention is left, in fewer bits


# Memory ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory() -> Iterator[Callable[[int], None]]:
    """Lets this process have so many bytes of the GPU beside what it has, until the test ends."""

    def leave(room: int) -> None:
        torch.cuda.empty_cache()
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + room) / whole)

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.fixture(scope="module")
def wide(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaMA with so many neurons that a token takes a mebibyte on its way."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=1 << 16, num_hidden_layers=2, num_attention_heads=4
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    wide: Path, sentences: list[str], little_memory: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu, on_processor = both(wide)
    texts = sentences[:12] * 4
    little_memory(256 << 20)
    found = lf.capture(on_gpu, {"en": texts}, batch_tokens=100_000)
    assert "going on with half as many" in caplog.text
    expected = lf.capture(on_processor, {"en": texts}, batch_tokens=1000)
    for found_SN, expected_SN in zip(found.h_L_SN, expected.h_L_SN, strict=True):
        torch.testing.assert_close(found_SN, expected_SN, rtol=1e-4, atol=ROUNDING * float(expected_SN.abs().max()))


def test_a_sentence_that_does_not_fit_alone_is_refused_with_a_remedy(wide: Path, little_memory: Callable[[int], None]) -> None:
    reader = read(wide)
    little_memory(24 << 20)
    with pytest.raises(InputError, match="not even one sequence fits into memory") as caught:
        lf.capture(reader, {"en": ["ha " * 200] * 3}, batch_tokens=100_000)
    assert "model.device_map=auto" in str(caught.value)


def test_weights_that_do_not_fit_are_refused_with_a_remedy(wide: Path, little_memory: Callable[[int], None]) -> None:
    little_memory(16 << 20)
    with pytest.raises(InputError, match="it does not fit into memory"):
        read(wide)


def test_a_capture_holds_no_more_of_the_gpu_than_a_batch_takes(wide: Path, sentences: list[str]) -> None:
    reader = read(wide)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    lf.capture(reader, {"en": sentences[:4]}, batch_tokens=64)
    few = torch.cuda.max_memory_allocated() - before
    torch.cuda.reset_peak_memory_stats()
    lf.capture(reader, {"en": sentences[:4] * 40}, batch_tokens=64)
    assert torch.cuda.max_memory_allocated() - before < 2 * few
    assert torch.cuda.memory_allocated() - before < few


# The command -------------------------------------------------------------------------------------------------------------


STUDY = [
    "tracking=none",
    "language_set.languages=[en,fr,ar,zh]",
    "dataset.sentences=10",
    "probe.threshold=1.2",
    "control.draws=1",
    "text.window=64",
    "cloze.stories=4",
    "generation.tokens=8",
    "cache.enabled=false",
]


def run(folder: Path, model: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lf_experiments", "model=local", f"model.path={model}", f"hydra.run.dir={folder}"]
    return subprocess.run([*command, *STUDY, *arguments], cwd=folder.parent, env=os.environ, capture_output=True, text=True)


def test_a_run_finds_what_it_finds_on_the_processor(model_folder: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "gpu", tmp_path / "processor"]
    for folder, arguments in zip(folders, [[], ["model.device_map=cpu"]], strict=True):
        found = run(folder, model_folder, *arguments)
        assert found.returncode == 0, found.stderr
    found, expected = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    for key in ("lrds", "sads", "sklr"):
        assert found[key] == pytest.approx(expected[key], abs=ROUNDING), key
    for name in ("perplexity.csv", "cloze.csv", "generations.csv", "regions.csv"):
        found_table, expected_table = (pd.read_csv(folder / name) for folder in folders)
        pd.testing.assert_frame_equal(found_table, expected_table, check_exact=False, rtol=1e-3, atol=1e-4)
    assert (folders[0] / "report.html").exists()


def test_more_processes_than_gpus_are_refused(model_folder: Path, tmp_path: Path) -> None:
    number = torch.cuda.device_count() + 1
    found = run(tmp_path / "out", model_folder, f"runtime.tensor_parallel={number}")
    assert found.returncode == 1
    assert f"runtime.tensor_parallel={number}" in found.stderr and "need one each" in found.stderr
