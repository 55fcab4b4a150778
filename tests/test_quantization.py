"""Weights in fewer bits, through bitsandbytes, which also works without a GPU: neurons near those of the whole model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lf_experiments.config.schema import Dtype, ModelConfig, Quantization
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.interventions import Intervention, intervened

bitsandbytes = pytest.importorskip("bitsandbytes")
KINDS = {Quantization.int8: bitsandbytes.nn.Linear8bitLt, Quantization.nf4: bitsandbytes.nn.Linear4bit}


@pytest.fixture(scope="module")
def config(tokenizer, awakened, tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """A LLaMA whose matrices are wide enough to be cut into the blocks of nf4."""
    folder = tmp_path_factory.mktemp("wide")
    sizes = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    awakened(LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(name="wide", path=str(folder), dtype=Dtype.float32)


@pytest.fixture(scope="module")
def whole(config: ModelConfig) -> Reader:
    return load_reader(Path(config.path), config)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def quantized(request: pytest.FixtureRequest, config: ModelConfig) -> Reader:
    reader = load_reader(Path(config.path), replace(config, quantization=request.param))
    assert all(isinstance(site.matrix, KINDS[request.param]) for site in reader.sites)
    return reader


def test_neurons_are_near_those_of_the_whole_model(quantized: Reader, whole: Reader, sentences: list[str]) -> None:
    near, exact = (torch.stack(capture(reader, sentences, 300)["mean"]).flatten(1) for reader in (quantized, whole))
    assert not torch.equal(near, exact)
    least = 0.99 if quantized.model.config.quantization_config.load_in_8bit else 0.85
    assert torch.nn.functional.cosine_similarity(near, exact).min() > least


def test_counts_are_those_of_the_whole_model(quantized: Reader, whole: Reader) -> None:
    assert quantized.num_parameters == whole.num_parameters
    assert quantized.widths[0] == whole.widths[0] == 192


def test_neurons_can_be_switched_off(quantized: Reader) -> None:
    outputs = []
    handles = [site.matrix.register_forward_hook(lambda *arguments: outputs.append(arguments[-1])) for site in quantized.sites]
    off_LN = torch.zeros(2, 192, dtype=torch.bool)
    off_LN[1] = True
    with intervened(quantized.sites, Intervention("off", off_LN)), torch.no_grad():
        quantized.model(torch.tensor([[1, 2, 3]]))
    for handle in handles:
        handle.remove()
    assert outputs[0].abs().max() > 0
    assert outputs[1].abs().max() == 0
