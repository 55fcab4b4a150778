"""Every architecture of the table as a tiny random model, its neurons recomputed from its weights; the refusals."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from recorded import captured
from scored import likelihood
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)

from lf_experiments.config.schema import ModelConfig, TextConfig
from lf_experiments.errors import InputError
from lf_experiments.evaluations.losses import head_can_be_chunked
from lf_experiments.evaluations.windows import Window, text_windows
from lf_experiments.models.batches import padded
from lf_experiments.models.families import (
    EXPERTS,
    POSITION_TABLES,
    SITES,
    join_operations,
    neuron_sites,
    widths_of,
)
from lf_experiments.models.load import Reader, context_of, load_reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.forward import pooled_batch
from lf_experiments.neurons.interventions import Intervention, intervened

LAYERS, HIDDEN, NEURONS = 3, 32, 40


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Tensor) -> Tensor:
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def relu_squared(x: Tensor) -> Tensor:
    return relu(x) ** 2


def xielu(x: Tensor, alpha_p: Tensor, alpha_n: Tensor) -> Tensor:
    """Two learnt numbers bend it: one for inputs above 0, one for those below."""
    above = x**2 * torch.log(1 + torch.exp(alpha_p)) + x / 2
    below = (torch.exp(x.clamp(max=-1e-6)) - 1 - x) * (0.5 + torch.log(1 + torch.exp(alpha_n))) + x / 2
    return torch.where(x > 0, above, below)


class Mlp(NamedTuple):
    """Where the MLP of a layer is in the whole model, and what it makes its neurons from: eq. (3) unless it says otherwise."""

    path: str = "model.layers.{}.mlp"
    first: tuple[str, ...] = ("gate_proj", "up_proj")
    second: str = "down_proj"
    activation: Callable[..., Tensor] = silu


FUSED = Mlp(first=("gate_up_proj",))
GEMMA = Mlp(activation=gelu_tanh)
SQUARED = Mlp(first=("up_proj",), activation=relu_squared)

MLPS = {
    "apertus": Mlp(first=("up_proj",), activation=xielu),
    "arcee": SQUARED,
    "bloom": Mlp("transformer.h.{}.mlp", ("dense_h_to_4h",), "dense_4h_to_h", gelu_tanh),
    "codegen": Mlp("transformer.h.{}.mlp", ("fc_in",), "fc_out", gelu_tanh),
    "falcon": Mlp("transformer.h.{}.mlp", ("dense_h_to_4h",), "dense_4h_to_h", gelu),
    "fuxitranyu": Mlp(first=("up_proj",), activation=gelu_tanh),
    "gemma": GEMMA,
    "gemma2": GEMMA,
    "gemma3": Mlp("model.language_model.layers.{}.mlp", activation=gelu_tanh),
    "gemma3_text": GEMMA,
    "gemma3n_text": GEMMA,
    "glm": FUSED,
    "glm4": FUSED,
    "gpt2": Mlp("transformer.h.{}.mlp", ("c_fc",), "c_proj", gelu_tanh),
    "gpt_bigcode": Mlp("transformer.h.{}.mlp", ("c_fc",), "c_proj", gelu_tanh),
    "gpt_neo": Mlp("transformer.h.{}.mlp", ("c_fc",), "c_proj", gelu_tanh),
    "gpt_neox": Mlp("gpt_neox.layers.{}.mlp", ("dense_h_to_4h",), "dense_4h_to_h", gelu),
    "gptj": Mlp("transformer.h.{}.mlp", ("fc_in",), "fc_out", gelu_tanh),
    "jais2": SQUARED,
    "mpt": Mlp("transformer.blocks.{}.ffn", ("up_proj",), "down_proj", gelu),
    "nemotron": SQUARED,
    "opt": Mlp("model.decoder.layers.{}", ("fc1",), "fc2", relu),
    "persimmon": Mlp("model.layers.{}.mlp", ("dense_h_to_4h",), "dense_4h_to_h", relu_squared),
    "phi": Mlp("model.layers.{}.mlp", ("fc1",), "fc2", gelu_tanh),
    "phi3": FUSED,
    "starcoder2": Mlp("model.layers.{}.mlp", ("c_fc",), "c_proj", gelu_tanh),
    "xglm": Mlp("model.layers.{}", ("fc1",), "fc2", gelu),
}

WIDTH_NAME = {
    "codegen": "n_inner",
    "falcon": "ffn_hidden_size",
    "gpt2": "n_inner",
    "gpt_bigcode": "n_inner",
    "gptj": "n_inner",
    "opt": "ffn_dim",
    "xglm": "ffn_dim",
}
FOUR_TIMES = {"bloom", "mpt", "openai-gpt"}
"""Their configuration has no width: it is always four times the hidden size."""

LOCAL = {"sliding_window": 16}  # shorter than some sentences
SETTINGS = {
    "codegen": {"rotary_dim": 4},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"logit_scale": 0.25, **LOCAL},
    "gemma2": {"final_logit_softcapping": 2.0, **LOCAL},
    "gemma3_text": LOCAL,
    "gemma3n_text": {
        **dict.fromkeys(["laurel_rank", "hidden_size_per_layer_input"], 4),
        "vocab_size_per_layer_input": 330,
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.0] * LAYERS,  # what it cuts off before the neurons has a test of its own
        "final_logit_softcapping": 2.0,
        **LOCAL,
    },
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 16},
    "gptj": {"rotary_dim": 4},
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0},
    "ministral": LOCAL,
    "mistral": LOCAL,
    "nemotron": {"mlp_bias": True},
    "olmo3": LOCAL,
    "opt": {"word_embed_proj_dim": HIDDEN},
    "qwen3_5_text": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        **dict.fromkeys(["linear_key_head_dim", "linear_value_head_dim"], 8),
        **dict.fromkeys(["linear_num_key_heads", "linear_num_value_heads"], 2),
    },
}
"""What an architecture needs to be tiny, and where its defaults would leave a peculiarity untested."""
CHANGES_ITS_LOGITS = {"cohere", "cohere2", "gemma2", "gemma3n_text", "granite"}

CASES = {model_type: (model_type, {}) for model_type in sorted(SITES)} | {
    "bloom, post-norm residual": ("bloom", {"apply_residual_connection_post_layernorm": True}),
    "falcon, new decoder": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon, alibi": ("falcon", {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True}),
    "gemma3": ("gemma3", {}),
    "gpt_neox, one after the other": ("gpt_neox", {"use_parallel_residual": False}),
    "llama, with biases": ("llama", {"mlp_bias": True}),
    "opt, post-norm and projected": ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "stablelm, parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
}
"""The architectures of the table, and variants of some that put the MLP elsewhere in the layer."""


def tiny_config(model_type: str, **more: object) -> PretrainedConfig:
    if model_type == "gemma3":
        eyes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 28}
        return AutoConfig.for_model("gemma3", text_config=tiny_config("gemma3_text").to_dict(), vision_config=eyes, **more)
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    named = {CONFIG_MAPPING[model_type].attribute_map.get(name, name): size for name, size in sizes.items()}
    width = {} if model_type in FOUR_TIMES else {WIDTH_NAME.get(model_type, "intermediate_size"): NEURONS}
    attention = {} if model_type == "falcon" else {"num_key_value_heads": 2, "head_dim": HIDDEN // 4}
    special = {"vocab_size": 330, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    return AutoConfig.for_model(
        model_type, **{**named, **width, **attention, **special, **SETTINGS.get(model_type, {}), **more}
    )


def tiny_model(model_type: str, **more: object) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(tiny_config(model_type, **more))


class Family(NamedTuple):
    """An architecture under test."""

    reader: Reader
    mlp: Mlp
    width: int
    changes_its_logits: bool

    def first(self, layer: int) -> list[nn.Module]:
        """The matrices that make the neurons of a layer."""
        return [self.reader.model.get_submodule(f"{self.mlp.path.format(layer)}.{name}") for name in self.mlp.first]

    def second(self, model: PreTrainedModel, layer: int) -> nn.Module:
        """The matrix that takes the neurons of a layer, in this model or a copy."""
        return model.get_submodule(f"{self.mlp.path.format(layer)}.{self.mlp.second}")

    def learnt(self, layer: int) -> list[Tensor]:
        """What the activation function of a layer has learnt."""
        mlp = self.reader.model.get_submodule(self.mlp.path.format(layer))
        return [value.double() for name, value in mlp.named_parameters() if "alpha" in name]


@pytest.fixture(scope="module", params=CASES)
def family(request, awakened, tokenizer, tmp_path_factory) -> Family:
    """Each architecture in turn, read from a folder."""
    model_type, settings = CASES[request.param]
    folder = tmp_path_factory.mktemp(model_type)
    awakened(tiny_model(model_type, **settings)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    reader = load_reader(folder, ModelConfig(name=request.param, path=str(folder)))
    width = 4 * HIDDEN if model_type in FOUR_TIMES else NEURONS
    return Family(reader, MLPS.get(model_type, Mlp()), width, model_type in CHANGES_ITS_LOGITS)


def logits_of(family: Family, model: PreTrainedModel) -> Tensor:
    ids_1T = torch.tensor(family.reader.token_ids(["The child reads a book in the garden."]))
    return model(input_ids=ids_1T, use_cache=False).logits


def linear(x_TD: Tensor, module: nn.Module) -> Tensor:
    """What a linear module does, in float64; GPT-2's `Conv1D` keeps its weight transposed."""
    weight = module.weight.double()
    y_TE = x_TD.double() @ (weight.T if isinstance(module, nn.Linear) else weight)
    return y_TE if module.bias is None else y_TE + module.bias.double()


def neurons_by_hand(family: Family, layer: int, x_TD: Tensor) -> Tensor:
    """Eq. (1) or (3) from what the MLP of a layer receives."""
    first = [linear(x_TD, module) for module in family.first(layer)]
    if family.mlp.first == ("gate_up_proj",):
        first = [first[0][:, :NEURONS], first[0][:, NEURONS:]]
    h_TN = family.mlp.activation(first[0], *family.learnt(layer))
    return h_TN * first[1] if len(first) == 2 else h_TN


def gates_by_hand(family: Family, layer: int, x_TD: Tensor) -> Tensor:
    """What opens the neurons: the activation of the first matrix, or of the first half of a fused one."""
    gate_TN = linear(x_TD, family.first(layer)[0])[:, : family.width]
    return family.mlp.activation(gate_TN, *family.learnt(layer))


@contextmanager
def mlp_inputs(family: Family) -> Iterator[dict[int, Tensor]]:
    """Inside the block, what the MLP of each layer last received, (T, D)."""
    seen = {}
    handles = [
        family.first(layer)[0].register_forward_pre_hook(
            lambda _, inputs, layer=layer: seen.update({layer: inputs[0].reshape(-1, HIDDEN)})
        )
        for layer in range(LAYERS)
    ]
    yield seen
    for handle in handles:
        handle.remove()


def test_fuxitranyu_is_read_as_it_is_published_without_its_code(awakened, tokenizer, tmp_path):
    awakened(tiny_model("fuxitranyu")).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    published = {
        "architectures": ["FuxiTranyuForCausalLM"],
        "model_type": "fuxitranyu",
        "auto_map": {
            "AutoConfig": "configuration_fuxitranyu.FuxiTranyuConfig",
            "AutoModelForCausalLM": "modeling_fuxitranyu.FuxiTranyuForCausalLM",
        },
        **{"activation_function": "gelu_fast", "attention_bias": True, "hidden_size": HIDDEN, "intermediate_size": NEURONS},
        **{"num_attention_heads": 4, "num_hidden_layers": LAYERS, "num_key_value_heads": 2, "rms_norm_eps": 1e-05},
        **{"pretraining_tp": 1, "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False, "vocab_size": 330},
    }
    (tmp_path / "config.json").write_text(json.dumps(published), encoding="utf-8")
    reader = load_reader(tmp_path, ModelConfig(name="x", path=str(tmp_path)))
    assert reader.widths == [NEURONS] * LAYERS
    mlp = reader.model.get_submodule("model.layers.0.mlp")
    assert mlp.up_proj.bias is not None and mlp.down_proj.bias is not None
    torch.testing.assert_close(mlp.act_fn(torch.linspace(-3, 3, 7)), gelu_tanh(torch.linspace(-3, 3, 7)))


def test_the_sites_are_the_second_matrices_in_order_as_wide_as_the_configuration_says(family):
    model = family.reader.model
    assert [site.matrix for site in family.reader.sites] == [family.second(model, layer) for layer in range(LAYERS)]
    assert family.reader.widths == widths_of(model.config.get_text_config()) == [family.width] * LAYERS


@torch.no_grad()
def test_capture_equals_the_neurons_recomputed_from_the_weights(family, sentences):
    ids = family.reader.token_ids(sentences[:6])
    recorded_L_BN = pooled_batch(family.reader, *padded(ids, torch.device("cpu")))["mean"].split(family.reader.widths, dim=1)
    with mlp_inputs(family) as x:
        for row, sequence in enumerate(ids):
            family.reader.model(input_ids=torch.tensor([sequence]), use_cache=False)
            for layer in range(LAYERS):
                expected_N = neurons_by_hand(family, layer, x[layer]).mean(dim=0)
                torch.testing.assert_close(recorded_L_BN[layer][row].double(), expected_N, rtol=1e-4, atol=1e-5)
    assert torch.cat(recorded_L_BN).std() > 1e-2


@torch.no_grad()
def test_the_rate_at_the_gate_is_that_of_the_gate_recomputed_from_the_weights(family, sentences):
    ids = family.reader.token_ids(sentences[:6])
    batch = padded(ids, torch.device("cpu"))
    found = pooled_batch(family.reader, *batch, ["gate_rate", "rate"])
    at_gate_BK, at_neuron_BK = found["gate_rate"], found["rate"]
    with mlp_inputs(family) as x:
        for row, sequence in enumerate(ids):
            family.reader.model(input_ids=torch.tensor([sequence]), use_cache=False)
            expected_K = torch.cat(
                [(gates_by_hand(family, layer, x[layer]) > 0).float().mean(dim=0) for layer in range(LAYERS)]
            )
            differs_K = (at_gate_BK[row] - expected_K).abs() > 1e-6
            assert differs_K.float().mean() < 0.01, "a gate may round to the other side of 0"
    has_gates = len(family.mlp.first) == 2 or family.mlp.first == ("gate_up_proj",)
    assert has_gates != torch.equal(at_gate_BK, at_neuron_BK)


@torch.no_grad()
def loss_of(family: Family, sequence: list[int], dose: float) -> float:
    """The negative log-likelihood of a sentence with every other neuron turned down by a dose, in nats."""
    half = [torch.arange(family.width) % 2 == 0] * LAYERS  # where a norm follows, turning down all changes nothing
    with intervened(family.reader.sites, Intervention("half", half, dose=dose)):
        log_p_TV = family.reader.model(torch.tensor([sequence]), use_cache=False).logits[0].double().log_softmax(dim=1)
    given = family.reader.given
    return -float(log_p_TV[given - 1 : -1].gather(1, torch.tensor(sequence[given:])[:, None]).sum())


def test_what_neurons_are_worth_is_the_slope_of_the_loss(family, sentences):
    (sequence,) = family.reader.sequences(sentences[2:3])
    worth = sum(
        float(worth_SN[:, ::2].sum())
        for worth_SN in capture(family.reader, sentences[2:3], 1000, ["attribution"])["attribution"]
    )
    near, far = (loss_of(family, sequence, step) - loss_of(family, sequence, -step) for step in (0.01, 0.02))
    slope = (8 * near - far) / 0.12 / len(family.reader.token_ids(sentences[2:3])[0])
    assert worth == pytest.approx(slope, rel=0.05, abs=3e-4) and abs(worth) > 1e-3


def test_batched_equals_one_by_one(family, sentences):
    one_by_one = torch.cat([captured(family.reader, [text], 1) for text in sentences], dim=1)
    torch.testing.assert_close(captured(family.reader, sentences, 300), one_by_one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("every", [1, 2])
def test_neurons_off_are_a_second_matrix_without_their_weights(family, every):
    """With all of them off (every one), the MLP gives its bias or nothing."""
    off_LN = torch.zeros(LAYERS, family.width, dtype=torch.bool)
    off_LN[:, ::every] = True
    twin = copy.deepcopy(family.reader.model)
    for layer in range(LAYERS):
        module = family.second(twin, layer)
        (module.weight if isinstance(module, nn.Linear) else module.weight.T)[:, ::every] = 0
    with intervened(family.reader.sites, Intervention("off", off_LN)):
        found = logits_of(family, family.reader.model)
    assert torch.equal(found, logits_of(family, twin))
    assert (found - logits_of(family, family.reader.model)).abs().max() > 1e-2


@torch.no_grad()
def test_all_neurons_of_one_layer_off_leave_the_bias_there_and_no_other(family):
    outputs = {}
    handles = [
        family.second(family.reader.model, layer).register_forward_hook(
            lambda _, __, output, layer=layer: outputs.update({layer: output.reshape(-1, HIDDEN).clone()})
        )
        for layer in range(LAYERS)
    ]
    off_LN = torch.zeros(LAYERS, family.width, dtype=torch.bool)
    off_LN[1] = True
    with intervened(family.reader.sites, Intervention("off", off_LN)):
        logits_of(family, family.reader.model)
    for handle in handles:
        handle.remove()
    for layer, output_TD in outputs.items():
        bias = family.second(family.reader.model, layer).bias
        expected_D = torch.zeros(HIDDEN) if bias is None else bias
        assert torch.equal(output_TD, expected_D.expand_as(output_TD)) == (layer == 1)
    assert len(outputs) == LAYERS


def test_the_gelu_of_bloom_is_joined_where_that_changes_nothing(tokenizer, awakened):
    model = awakened(BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4)))
    h = torch.linspace(-30, 30, 10_001)
    expected = model.base_model.h[0].mlp.gelu_impl(h)
    join_operations(model.bfloat16())
    assert not isinstance(model.base_model.h[0].mlp.gelu_impl, torch.nn.GELU)
    join_operations(model.float())
    for layer in model.base_model.h:
        assert isinstance(layer.mlp.gelu_impl, torch.nn.GELU)
        torch.testing.assert_close(layer.mlp.gelu_impl(h), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_an_empty_region_changes_no_bit(family):
    untouched = logits_of(family, family.reader.model)
    nothing = torch.zeros(LAYERS, family.width, dtype=torch.bool)
    with intervened(family.reader.sites, Intervention("off", nothing)):
        assert torch.equal(logits_of(family, family.reader.model), untouched)


@torch.no_grad()
def test_every_row_of_a_batch_has_its_own_intervention(family):
    where_L_N = [torch.arange(family.width) % 3 == 0] * LAYERS
    value_L_N = [torch.linspace(-1, 1, family.width)] * LAYERS
    by_row = [
        Intervention("none", [torch.zeros(family.width, dtype=torch.bool)] * LAYERS), Intervention("off", where_L_N),
        Intervention("half", where_L_N, dose=0.5), Intervention("moved", where_L_N, kind="mean", value_L_N=value_L_N),
    ]  # fmt: skip
    texts = ["The child reads a book in the garden.", "No.", "孩子在花园里看书。", "The child reads a book in the garden."]
    model, sequences = family.reader.model, family.reader.token_ids(texts)
    ids_BT, mask_BT = padded(sequences, torch.device("cpu"))
    with intervened(family.reader.sites, *by_row):
        found_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    for row, (sequence, intervention) in enumerate(zip(sequences, by_row, strict=True)):
        with intervened(family.reader.sites, intervention):
            expected_TV = model(input_ids=torch.tensor([sequence]), use_cache=False).logits[0]
        torch.testing.assert_close(found_BTV[row, : len(sequence)], expected_TV, rtol=1e-4, atol=1e-4)
    assert (found_BTV[0] - found_BTV[3]).abs().max() > 1e-2


@torch.no_grad()
def test_perplexity_is_that_of_the_models_own_logits(family):
    model, ids = family.reader.model, family.reader.token_ids(["The child reads a book.", "孩子在花园里看书。"])
    chunked = head_can_be_chunked(family.reader)
    assert chunked == (not family.changes_its_logits)
    expected = 0.0
    for sequence in ids:
        logits_TV = model(input_ids=torch.tensor([sequence]), use_cache=False).logits[0].double()
        log_probability_TV = logits_TV.log_softmax(dim=1)
        expected -= sum(log_probability_TV[place, token].item() for place, token in enumerate(sequence[1:]))
    found = likelihood(family.reader, [Window(sequence, 1) for sequence in ids], 300, chunked)
    assert found.nll == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("model_type", ["bloom", "gpt2", "gptj", "gpt_neo", "mpt", "falcon", "codegen", "gpt_bigcode"])
def test_a_configuration_without_a_width_means_four_times_the_hidden_size(model_type):
    assert set(widths_of(AutoConfig.for_model(model_type, hidden_size=48))) == {192}


def test_mpt_is_four_times_as_wide_as_its_hidden_size_whatever_its_expansion_ratio():
    """transformers builds it so."""
    assert widths_of(tiny_model("mpt", expansion_ratio=2).config) == [4 * HIDDEN] * LAYERS
    assert len(neuron_sites(tiny_model("mpt", expansion_ratio=2))) == LAYERS


@pytest.mark.parametrize("number", [None, 0, 1])
@pytest.mark.parametrize("name", EXPERTS)
def test_a_dense_model_may_say_that_it_has_no_experts(name, number):
    assert len(neuron_sites(tiny_model("llama", **{name: number}))) == LAYERS


def test_the_table_is_keyed_by_names_that_transformers_knows():
    assert set(SITES) <= set(CONFIG_MAPPING)


def test_an_unknown_architecture_is_told_the_one_line_that_adds_it(monkeypatch):
    assert "openai-gpt" not in SITES
    model = tiny_model("openai-gpt")
    with pytest.raises(InputError) as info:
        neuron_sites(model)
    problem, remedy = str(info.value).split("\n")
    assert problem.startswith(
        "model=openai-gpt: the neurons of this architecture are not known; known are afmoe, apertus, arcee, "
    )
    assert all(model_type in problem for model_type in SITES)
    assert remedy == (
        "Remedy: add one line to SITES in lf_experiments/models/families.py, the path of its second MLP matrix inside "
        'model.get_decoder(), as in "openai-gpt": "layers.{layer}.mlp.down_proj"'
    )
    monkeypatch.setitem(SITES, "openai-gpt", "h.{layer}.mlp.c_proj")
    assert [site.matrix for site in neuron_sites(model)] == [block.mlp.c_proj for block in model.transformer.h]


def test_of_what_reads_images_the_text_model_decides(monkeypatch):
    """Known through its text model; and where that is not known, this is what the message names."""
    model = tiny_model("gemma3")
    assert "gemma3" not in SITES
    monkeypatch.delitem(SITES, "gemma3_text")
    with pytest.raises(InputError, match=r'(?s)^model=gemma3_text: the neurons .* "gemma3_text": "layers'):
        neuron_sites(model)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "falcon", "opt", "gpt_neo", "gemma3"])
def test_a_configuration_that_promises_another_width_is_refused(model_type):
    model = tiny_model(model_type)
    setattr(model.config.get_text_config(), WIDTH_NAME.get(model_type, "intermediate_size"), NEURONS + 1)
    with pytest.raises(InputError, match=f"layer 0 has {NEURONS} neurons where the configuration promises {NEURONS + 1}"):
        neuron_sites(model)


def test_one_layer_of_another_width_is_refused_by_its_number():
    model = tiny_model("llama")
    model.model.layers[2].mlp.down_proj = nn.Linear(NEURONS - 8, HIDDEN)
    with pytest.raises(InputError, match=f"layer 2 has {NEURONS - 8} neurons where the configuration promises {NEURONS}"):
        neuron_sites(model)


def test_a_configuration_that_promises_more_layers_is_refused():
    model = tiny_model("llama")
    model.config.num_hidden_layers = LAYERS + 1
    with pytest.raises(InputError, match=rf"its decoder has no module layers\.{LAYERS}\.mlp\.down_proj"):
        neuron_sites(model)


def test_a_wrong_line_in_the_table_is_refused(monkeypatch):
    monkeypatch.setitem(SITES, "llama", "layers.{layer}.mlp.w2")
    with pytest.raises(InputError, match=r"its decoder has no module layers\.0\.mlp\.w2\nRemedy: check the line"):
        neuron_sites(tiny_model("llama"))


def test_a_line_that_points_at_the_first_matrix_is_refused(monkeypatch):
    monkeypatch.setitem(SITES, "llama", "layers.{layer}.mlp.up_proj")
    with pytest.raises(InputError, match=f"layer 0 has {HIDDEN} neurons where the configuration promises {NEURONS}"):
        neuron_sites(tiny_model("llama"))


CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")


@torch.no_grad()
@pytest.mark.parametrize("model_type", sorted(SITES))
def test_what_cannot_read_beyond_its_context_is_in_the_table_of_those(model_type):
    config = tiny_config(model_type)
    for name in CONTEXT_NAMES:
        if hasattr(config, name):
            setattr(config, name, 24)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids_1T = torch.arange(2, 32)[None]
    if model_type in POSITION_TABLES:
        assert context_of(model) == 24
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=ids_1T, use_cache=False)
    else:
        model(input_ids=ids_1T, use_cache=False)


def test_more_than_a_position_table_holds_is_refused(tokenizer, tmp_path, sentences):
    AutoModelForCausalLM.from_config(tiny_config("gpt2", n_positions=24)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reader = load_reader(tmp_path, ModelConfig(name="gpt2", path=str(tmp_path)))
    capture(reader, ["x"], 300)
    with pytest.raises(InputError, match=r"dataset=\(\d+ of \d+ sentences\): they are longer than the 24 tokens"):
        capture(reader, sentences, 300)
    text = TextConfig(name="test", source="files", window=25)
    with pytest.raises(InputError, match="text.window=25: this model cannot read more than 24 tokens at once"):
        text_windows(reader, sentences, text, "en")
    assert text_windows(reader, sentences, replace(text, window=24), "en")
