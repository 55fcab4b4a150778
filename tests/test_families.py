"""Every architecture of the table as a tiny random model, its neurons recomputed from the first MLP matrix; the refusals."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from lf_experiments.config import InputError
from lf_experiments.models.batches import padded
from lf_experiments.models.families import SITES, input_width, neuron_sites, neurons_per_layer, refuse_hidden_neurons
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import batch_activation, capture
from lf_experiments.neurons.deactivate import deactivated

LAYERS, HIDDEN, NEURONS = 3, 32, 40
WIDTH_NAME = {"falcon": "ffn_hidden_size", "gpt2": "n_inner", "opt": "ffn_dim", "xglm": "ffn_dim"}
HIDDEN_NAME = {"gpt2": "n_embd", "xglm": "d_model"}
MORE = {
    "falcon": {"bias": True},
    "gemma": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8},
    "opt": {"word_embed_proj_dim": HIDDEN},
    "qwen3": {"head_dim": 8},
}

gelu_tanh = partial(F.gelu, approximate="tanh")
PLAIN = {
    "bloom": ("transformer.h.{}.mlp.dense_h_to_4h", gelu_tanh),
    "falcon": ("transformer.h.{}.mlp.dense_h_to_4h", F.gelu),
    "gpt2": ("transformer.h.{}.mlp.c_fc", gelu_tanh),
    "gpt_neox": ("gpt_neox.layers.{}.mlp.dense_h_to_4h", F.gelu),
    "opt": ("model.decoder.layers.{}.fc1", F.relu),
    "xglm": ("model.layers.{}.fc1", F.gelu),
}
"""Eq. (1): the first matrix and the activation function."""
GATE = {"gemma": gelu_tanh, "gemma2": gelu_tanh}
"""Eq. (3): what stands for Swish where it is not that."""


def tiny_config(model_type, **more):
    width = {} if model_type == "bloom" else {WIDTH_NAME.get(model_type, "intermediate_size"): NEURONS}
    sizes = {HIDDEN_NAME.get(model_type, "hidden_size"): HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    special = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    return AutoConfig.for_model(
        model_type, vocab_size=330, num_key_value_heads=more.pop("num_key_value_heads", 4), **sizes, **width, **special, **more
    )


def tiny_model(model_type, **more):
    return AutoModelForCausalLM.from_config(tiny_config(model_type, **{**MORE.get(model_type, {}), **more}))


@pytest.fixture(scope="module", params=sorted(SITES))
def family(request, awakened, tokenizer):
    """Each architecture in turn, as a reader."""
    model = awakened(tiny_model(request.param))
    return Reader(model, tokenizer, neuron_sites(model), add_special_tokens=False, context=None)


def first_outputs(model, paths):
    """What the modules at `paths` give on the last forward pass; filled while the model runs."""
    seen = {}
    for path in paths:
        model.get_submodule(path).register_forward_hook(lambda _, __, output, path=path: seen.update({path: output}))
    return seen


def first_paths(model_type, layer):
    if model_type in PLAIN:
        return [PLAIN[model_type][0].format(layer)]
    names = ["gate_up_proj"] if model_type == "phi3" else ["gate_proj", "up_proj"]
    return [f"model.layers.{layer}.mlp.{name}" for name in names]


def neurons_by_hand(model_type, first):
    """The neurons of one layer from what its first matrix or matrices gave."""
    if model_type in PLAIN:
        return PLAIN[model_type][1](first[0])
    gate, up = first[0].chunk(2, dim=-1) if len(first) == 1 else first
    return GATE.get(model_type, F.silu)(gate) * up


def test_there_is_one_site_per_layer_as_wide_as_the_mlp(family):
    expected = 4 * HIDDEN if family.model.config.model_type == "bloom" else NEURONS
    assert len(family.sites) == LAYERS == len(set(map(id, family.sites)))
    assert [input_width(site) for site in family.sites] == [expected] * LAYERS
    assert family.num_neurons_per_layer == expected


def test_sites_are_in_the_order_of_the_layers(family, sentences):
    called = []
    handles = [
        site.register_forward_pre_hook(lambda _, __, layer=layer: called.append(layer))
        for layer, site in enumerate(family.sites)
    ]
    capture(family, sentences[:1], 100)
    for handle in handles:
        handle.remove()
    assert called == list(range(LAYERS))


@torch.no_grad()
def test_capture_equals_the_neurons_recomputed_from_the_first_matrix(awakened, family, sentences):
    model_type = family.model.config.model_type
    ids = family.token_ids(sentences[:6])
    recorded_LBN = batch_activation(family, *padded(ids, torch.device("cpu")))

    twin = awakened(tiny_model(model_type))
    seen = first_outputs(twin, [path for layer in range(LAYERS) for path in first_paths(model_type, layer)])
    for row, sequence in enumerate(ids):
        twin(torch.tensor([sequence]))
        for layer in range(LAYERS):
            first = [seen[path].reshape(len(sequence), -1) for path in first_paths(model_type, layer)]
            expected_N = neurons_by_hand(model_type, first).double().mean(dim=0)
            torch.testing.assert_close(recorded_LBN[layer, row].double(), expected_N, rtol=1e-5, atol=1e-5)
    assert recorded_LBN.std() > 1e-2


def test_batched_equals_one_by_one(family, sentences):
    one_by_one = torch.cat([capture(family, [text], 1) for text in sentences], dim=1)
    torch.testing.assert_close(capture(family, sentences, 300), one_by_one, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_all_neurons_off_leave_the_bias_of_the_second_matrix(family):
    outputs = {}
    handles = [
        site.register_forward_hook(lambda _, __, output, layer=layer: outputs.update({layer: output.clone()}))
        for layer, site in enumerate(family.sites)
    ]
    everything = torch.ones(LAYERS, family.num_neurons_per_layer, dtype=torch.bool)
    with deactivated(family.sites, everything):
        family.model(torch.tensor(family.token_ids(["The child reads."])), use_cache=False)
    for handle in handles:
        handle.remove()
    for layer, site in enumerate(family.sites):
        bias_H = torch.zeros(HIDDEN) if site.bias is None else site.bias
        assert torch.equal(outputs[layer], bias_H.expand_as(outputs[layer]))


@torch.no_grad()
def test_all_neurons_off_make_the_mlp_blind_to_its_input(awakened, family):
    """Against a twin whose first matrices are other ones: with all neurons off nobody can tell, with all on everybody can."""
    model_type = family.model.config.model_type
    twin = awakened(tiny_model(model_type))
    for layer in range(LAYERS):
        for path in first_paths(model_type, layer):
            twin.get_submodule(path).weight.mul_(-2)
    ids = torch.tensor(family.token_ids(["The child reads."]))
    everything = torch.ones(LAYERS, family.num_neurons_per_layer, dtype=torch.bool)
    assert (twin(ids).logits - family.model(ids).logits).abs().max() > 1e-2
    with deactivated(family.sites, everything), deactivated(neuron_sites(twin), everything):
        assert torch.equal(twin(ids).logits, family.model(ids).logits)


@pytest.mark.parametrize("model_type", ["bloom", "gpt2"])
def test_a_configuration_without_a_width_means_four_times_the_hidden_size(model_type):
    config = AutoConfig.for_model(model_type, hidden_size=24)
    assert neurons_per_layer(config) == 96


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "qwen2_moe", "deepseek_v3"])
def test_a_mixture_of_experts_is_refused_whether_known_or_not(model_type):
    config = AutoConfig.for_model(model_type)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shrunk(config))
    with pytest.raises(InputError) as info:
        neuron_sites(model)
    assert str(info.value) == (
        f"model={model_type}: a mixture of experts keeps its neurons inside fused expert weights, "
        "where they cannot be recorded\nRemedy: choose a dense model"
    )


@pytest.mark.parametrize("name", ["num_experts", "num_local_experts", "n_routed_experts"])
def test_experts_are_seen_under_every_name_of_their_number(name):
    """Even in an architecture of the table, whose derivatives may keep its `model_type`."""
    with pytest.raises(InputError, match="a mixture of experts"):
        refuse_hidden_neurons(AutoConfig.for_model("llama", **{name: 8}))


def shrunk(config):
    """Two layers of a large architecture; on the meta device their width costs nothing."""
    config.num_hidden_layers = 2
    if hasattr(config, "layer_types") and config.layer_types:
        config.layer_types = config.layer_types[:2]
    return config


def test_an_unknown_architecture_is_told_how_to_be_added():
    assert "gptj" not in SITES
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(
            "gptj", vocab_size=50, n_embd=16, n_layer=2, n_head=2, rotary_dim=4, bos_token_id=0, eos_token_id=1
        )
    )
    with pytest.raises(InputError) as info:
        neuron_sites(model)
    message = str(info.value)
    assert message.startswith("model=gptj: the neurons of this architecture are not known; known are ")
    assert all(model_type in message for model_type in SITES)
    assert 'Remedy: add one line to SITES in lf_experiments/models/families.py: "model_type": "path.of' in message


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "falcon", "opt"])
def test_a_configuration_that_promises_another_width_is_refused(model_type):
    model = tiny_model(model_type)
    setattr(model.config, WIDTH_NAME.get(model_type, "intermediate_size"), NEURONS + 1)
    with pytest.raises(InputError, match=f"layer 0 has {NEURONS} neurons where the configuration promises {NEURONS + 1}"):
        neuron_sites(model)


def test_one_layer_of_another_width_is_refused_by_its_number():
    model = tiny_model("llama")
    model.model.layers[2].mlp.down_proj = torch.nn.Linear(NEURONS - 8, HIDDEN)
    with pytest.raises(InputError, match=f"layer 2 has {NEURONS - 8} neurons where the configuration promises {NEURONS}"):
        neuron_sites(model)


def test_a_configuration_that_promises_more_layers_is_refused():
    model = tiny_model("llama")
    model.config.num_hidden_layers = LAYERS + 1
    with pytest.raises(InputError, match=rf"it has no module model\.layers\.{LAYERS}\.mlp\.down_proj"):
        neuron_sites(model)


def test_a_wrong_line_in_the_table_is_refused(monkeypatch):
    monkeypatch.setitem(SITES, "llama", "model.layers.{layer}.mlp.w2")
    with pytest.raises(InputError, match=r"it has no module model\.layers\.0\.mlp\.w2\nRemedy: check the line"):
        neuron_sites(tiny_model("llama"))


def test_a_line_that_points_at_the_first_matrix_is_refused(monkeypatch):
    monkeypatch.setitem(SITES, "llama", "model.layers.{layer}.mlp.up_proj")
    with pytest.raises(InputError, match=f"layer 0 has {HIDDEN} neurons where the configuration promises {NEURONS}"):
        neuron_sites(tiny_model("llama"))
