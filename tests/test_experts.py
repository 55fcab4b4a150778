"""Every mixture of experts as a tiny random model, its neurons rebuilt from its weights, token by token, expert by expert."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch
from mixtures import CHOSEN, DENSE, EXPERTS, HIDDEN, LAYERS, SETTINGS, WIDTH, tiny_mixture
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.batches import padded
from lf_experiments.models.families import EXPERTS as EXPERTS_NAMES
from lf_experiments.models.families import MIXTURES, SITES, experts_per_token, neuron_sites, refuse_hidden_neurons
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.experts import IMPLEMENTATION, TAPS, ExpertsSite, has_grouped_product
from lf_experiments.neurons.forward import pooled
from lf_experiments.neurons.interventions import Intervention, intervened, nothing
from lf_experiments.neurons.sites import NO_EXPERTS, DenseSite, Experts

TEXTS = ["The child reads a book in the garden.", "孩子在花园里看书。", "x", "Le chat dort sur la vieille chaise."]
K = EXPERTS * WIDTH
"""Routed neurons of a layer."""
HAS_BIAS = {"gpt_oss"}


class Mixture(NamedTuple):
    """A mixture under test."""

    reader: Reader
    stock_TV: Tensor
    """The logits of the first text as transformers computes them in float64, before anything is seen of it."""

    @property
    def banks(self) -> dict[int, ExpertsSite]:
        """The routed experts by layer."""
        found = {layer: site.banks[0] for layer, site in enumerate(self.reader.sites)}
        return {layer: bank for layer, bank in found.items() if isinstance(bank, ExpertsSite)}

    def logits(self, model: PreTrainedModel | None = None) -> Tensor:
        ids_1T = torch.tensor(self.reader.token_ids(TEXTS[:1]))
        return (model or self.reader.model)(input_ids=ids_1T, use_cache=False).logits[0]


@pytest.fixture(scope="module", params=sorted(MIXTURES))
def mixture(request, awakened, tokenizer, tmp_path_factory) -> Mixture:
    """Each architecture in turn, read from a folder."""
    folder = tmp_path_factory.mktemp(request.param)
    awakened(AutoModelForCausalLM.from_config(tiny_mixture(request.param))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    stock = AutoModelForCausalLM.from_pretrained(folder, experts_implementation="eager").double().eval()
    with torch.no_grad():
        stock_TV = stock(torch.tensor(tokenizer([TEXTS[0]], add_special_tokens=False)["input_ids"])).logits[0]
    return Mixture(load_reader(folder, ModelConfig(name=request.param, path=str(folder))), stock_TV)


class Call(NamedTuple):
    """What the experts of a layer were given and what they gave."""

    x_XD: Tensor
    expert_XC: Tensor
    weight_XC: Tensor
    y_XD: Tensor


@contextmanager
def calls(banks: dict[int, ExpertsSite]) -> Iterator[dict[int, Call]]:
    """Inside the block, the last call of the experts of each layer."""
    seen: dict[int, Call] = {}
    handles = [
        bank.module.register_forward_hook(
            lambda _, inputs, output, layer=layer: seen.update({layer: Call(*(value.clone() for value in (*inputs, output)))})
        )
        for layer, bank in banks.items()
    ]
    yield seen
    for handle in handles:
        handle.remove()


def of_one_expert(module: nn.Module, expert: int, x_D: Tensor) -> Tensor:
    """What the second matrix of one expert receives from one token, in float64."""
    weight = module.gate_up_proj[expert].double()
    first = x_D.double() @ (weight if module.is_transposed else weight.T)
    if not module.is_transposed or not module.has_bias:  # all but GPT-OSS: first the gate, then what it lets pass
        gate, up = first[:WIDTH], first[WIDTH:]
        return gate / (1 + torch.exp(-gate)) * up
    first = first + module.gate_up_proj_bias[expert].double()
    gate, up = first[0::2].clamp(max=7.0), first[1::2].clamp(min=-7.0, max=7.0)
    return (up + 1) * gate / (1 + torch.exp(-1.702 * gate))


def neurons_by_hand(module: nn.Module, call: Call) -> Tensor:
    """The neurons of all experts at every token, (X, K) in float64: 0 where the token is routed elsewhere."""
    h_XK = torch.zeros(len(call.x_XD), K, dtype=torch.float64)
    for token, (x_D, experts, weights) in enumerate(zip(call.x_XD, call.expert_XC.tolist(), call.weight_XC, strict=True)):
        for expert, weight in zip(experts, weights, strict=True):
            h_XK[token, expert * WIDTH : (expert + 1) * WIDTH] = weight.double() * of_one_expert(module, expert, x_D)
    return h_XK


def added_by_hand(module: nn.Module, call: Call, h_XK: Tensor) -> Tensor:
    """What neurons add to the residual stream, and the biases of the experts that were chosen, (X, D) in float64."""
    second_KD = torch.cat([matrix if module.is_transposed else matrix.T for matrix in module.down_proj]).double()
    y_XD = h_XK @ second_KD
    if module.has_bias:
        y_XD += (call.weight_XC.double()[..., None] * module.down_proj_bias.double()[call.expert_XC]).sum(dim=1)
    return y_XD


def test_every_mixture_of_the_table_is_tested_and_known_to_transformers() -> None:
    assert set(SETTINGS) == set(MIXTURES) <= set(CONFIG_MAPPING)
    assert not set(MIXTURES) & set(SITES)


def test_the_logits_are_those_of_transformers(mixture) -> None:
    """In float64: in float32 sums in another order are rounded by more on some processors."""
    model = mixture.reader.model
    try:
        with torch.no_grad():
            torch.testing.assert_close(mixture.logits(model.double()), mixture.stock_TV, rtol=1e-5, atol=1e-5)
    finally:
        model.float()
    torch.testing.assert_close(mixture.logits().double(), mixture.stock_TV, rtol=1e-4, atol=1e-4)
    assert mixture.reader.model.config.get_text_config()._experts_implementation == IMPLEMENTATION


def test_a_layer_has_its_experts_first_and_its_width_is_that_of_all_banks(mixture) -> None:
    reader = mixture.reader
    assert len(mixture.banks) >= 2
    assert reader.experts == [Experts(EXPERTS, WIDTH) if layer in mixture.banks else NO_EXPERTS for layer in range(LAYERS)]
    assert [sum(bank.width for bank in site.banks) for site in reader.sites] == reader.widths
    for layer, site in enumerate(reader.sites):
        if layer not in mixture.banks:
            assert isinstance(site, DenseSite) and site.width == DENSE
    assert experts_per_token(reader.model.config.get_text_config()) == CHOSEN


def test_no_second_matrix_of_a_layer_is_forgotten(mixture) -> None:
    """Every module that ends an MLP: by its name, and because it is not part of the attention."""
    names = {name for name, _ in mixture.reader.model.named_modules() if name.endswith(("down_proj", "output_linear"))}
    modules = {id(mixture.reader.model.get_submodule(name)) for name in names}
    banks = [bank for site in mixture.reader.sites for bank in site.banks]
    assert modules == {id(bank.matrix) for bank in banks if isinstance(bank, DenseSite)}


@torch.no_grad()
def test_capture_equals_the_neurons_rebuilt_from_the_weights_one_by_one_and_batched(mixture) -> None:
    reader = mixture.reader
    for batch_tokens in (1, 300):  # alone, and padded to the longest
        found = capture(reader, TEXTS, batch_tokens, ["mean", "rate", "magnitude", "gate_rate", "routing"])
        for row, sequence in enumerate(reader.token_ids(TEXTS)):
            with calls(mixture.banks) as seen:
                reader.model(input_ids=torch.tensor([sequence]), use_cache=False)
            for layer, bank in mixture.banks.items():
                h_XK = neurons_by_hand(bank.module, seen[layer])
                by_hand = {"mean": h_XK, "rate": (h_XK > 0).double(), "magnitude": h_XK.abs()}
                for pool, value_XK in by_hand.items():
                    expected_K = value_XK.mean(dim=0)
                    torch.testing.assert_close(found[pool][layer][row][:K].double(), expected_K, rtol=1e-4, atol=1e-5)
                routed = seen[layer].expert_XC.flatten().tolist()
                share_E = torch.tensor([routed.count(expert) / len(sequence) for expert in range(EXPERTS)])
                torch.testing.assert_close(found["routing"][layer][row], share_E, rtol=1e-6, atol=1e-6)
                assert found["routing"][layer][row].sum().item() == pytest.approx(CHOSEN)
    assert torch.cat(found["mean"], dim=1).std() > 1e-3
    assert [share_SE.shape[1] for share_SE in found["routing"]] == [experts.number for experts in reader.experts]


@torch.no_grad()
def test_with_all_neurons_off_the_experts_add_nothing_but_their_biases(mixture) -> None:
    reader = mixture.reader
    off = Intervention("off", [torch.ones(width, dtype=torch.bool) for width in reader.widths])
    with calls(mixture.banks) as seen, intervened(reader.sites, off):
        mixture.logits()
    for layer, bank in mixture.banks.items():
        nothing_XK = torch.zeros(len(seen[layer].x_XD), K, dtype=torch.float64)
        expected_XD = added_by_hand(bank.module, seen[layer], nothing_XK)
        torch.testing.assert_close(seen[layer].y_XD.double(), expected_XD, rtol=1e-5, atol=1e-6)
        assert seen[layer].y_XD.any() == (reader.model.config.model_type in HAS_BIAS)


@torch.no_grad()
def test_neurons_off_are_a_second_matrix_without_their_weights(mixture) -> None:
    """Of every bank of every layer, each third neuron."""
    reader = mixture.reader
    where_L_N = [torch.arange(width) % 3 == 0 for width in reader.widths]
    before = mixture.logits()
    with intervened(reader.sites, Intervention("off", where_L_N)):
        found = mixture.logits()
    kept = []
    for site, where_N in zip(reader.sites, where_L_N, strict=True):
        for bank, of_bank_N in zip(site.banks, where_N.split([bank.width for bank in site.banks]), strict=True):
            weight = bank.matrix.weight if isinstance(bank, DenseSite) else bank.module.down_proj
            kept.append((weight, weight.clone()))
            if isinstance(bank, DenseSite):
                weight[:, of_bank_N] = 0
            else:
                for expert, off_F in enumerate(of_bank_N.view(EXPERTS, WIDTH)):
                    (weight[expert].T if bank.module.is_transposed else weight[expert])[:, off_F] = 0
    expected = mixture.logits()
    for weight, whole in kept:
        weight.copy_(whole)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - before).abs().max() > 1e-2
    assert torch.equal(mixture.logits(), before)


@torch.no_grad()
@pytest.mark.parametrize("dose", [1.0, 0.25])
def test_neurons_moved_to_a_value_have_it_at_every_token_routed_or_not(mixture, dose) -> None:
    reader = mixture.reader
    where_L_N = [torch.arange(width) % 2 == 0 for width in reader.widths]
    value_L_N = [torch.linspace(-1, 1, width) for width in reader.widths]
    moved = Intervention("moved", where_L_N, kind="mean", dose=dose, value_L_N=value_L_N)
    with calls(mixture.banks) as seen, intervened(reader.sites, moved):
        mixture.logits()
        mean = capture(reader, TEXTS[:1], 10, ["mean", "magnitude"])
    for layer, bank in mixture.banks.items():
        h_XK = neurons_by_hand(bank.module, seen[layer])
        where_K, value_K = where_L_N[layer][:K], value_L_N[layer][:K].double()
        h_XK = torch.where(where_K, h_XK + dose * (value_K - h_XK), h_XK)
        torch.testing.assert_close(
            seen[layer].y_XD.double(), added_by_hand(bank.module, seen[layer], h_XK), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(mean["mean"][layer][0][:K].double(), h_XK.mean(dim=0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mean["magnitude"][layer][0][:K].double(), h_XK.abs().mean(dim=0), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_row_of_a_batch_has_its_own_intervention(mixture) -> None:
    """Also where neurons are moved at tokens that are routed elsewhere."""
    reader = mixture.reader
    where_L_N = [torch.arange(width) % 2 == 0 for width in reader.widths]
    value_L_N = [torch.linspace(-1, 1, width) for width in reader.widths]
    moved = Intervention("moved", where_L_N, kind="mean", dose=0.5, value_L_N=value_L_N)
    by_row = [nothing(reader.widths), Intervention("off", where_L_N), moved, Intervention("scaled", where_L_N, kind="scale")]
    sequences = reader.token_ids([TEXTS[0], "No.", TEXTS[0], TEXTS[0]])
    ids_BT, mask_BT = padded(sequences, torch.device("cpu"))
    with intervened(reader.sites, *by_row):
        found_BTV = reader.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
        with pooled(reader.sites, mask_BT, ["mean"]) as found:
            reader.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
    for row, (sequence, intervention) in enumerate(zip(sequences, by_row, strict=True)):
        ids_1T = torch.tensor([sequence])
        with intervened(reader.sites, intervention), pooled(reader.sites, torch.ones_like(ids_1T), ["mean"]) as alone:
            expected_TV = reader.model(input_ids=ids_1T, use_cache=False).logits[0]
        torch.testing.assert_close(found_BTV[row, : len(sequence)], expected_TV, rtol=1e-4, atol=1e-4)
        assert not found.silent_layers and not alone.silent_layers
        torch.testing.assert_close(found.h_BK["mean"][row], alone.h_BK["mean"][0], rtol=1e-4, atol=1e-5)
    assert (found_BTV[0] - found_BTV[2]).abs().max() > 1e-2
    with pytest.raises(ValueError, match="a batch must have 4 rows"), intervened(reader.sites, *by_row):
        mixture.logits()


@torch.no_grad()
def test_an_empty_region_changes_no_bit_and_nothing_stays(mixture) -> None:
    untouched = mixture.logits()
    with intervened(mixture.reader.sites, nothing(mixture.reader.widths)):
        assert torch.equal(mixture.logits(), untouched)
    capture(mixture.reader, TEXTS, 100)
    assert not any(vars(bank.module).get(TAPS) for bank in mixture.banks.values())


def test_gradients_pass_the_experts(mixture) -> None:
    """Whoever trains a model under an intervention needs them."""
    mixture.logits().sum().backward()
    for bank in mixture.banks.values():
        assert bank.module.down_proj.grad.abs().sum() > 0
    mixture.reader.model.zero_grad()


# What is refused -----------------------------------------------------------------------------------------------------------

NOT_KNOWN = ["jetmoe", "longcat_flash", "minimax"]


@pytest.mark.parametrize("model_type", NOT_KNOWN)
def test_a_mixture_that_is_not_known_is_refused_by_name_before_its_weights_are_read(model_type, tokenizer, tmp_path) -> None:
    CONFIG_MAPPING[model_type]().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_text("no weights at all")
    with pytest.raises(InputError) as info:
        load_reader(tmp_path, ModelConfig(name=model_type, path=str(tmp_path)))
    problem, remedy = str(info.value).split("\n")
    assert problem.startswith(f"model={model_type}: where this mixture of experts computes its neurons is not known; known are")
    assert all(known in problem for known in MIXTURES)
    assert remedy.startswith("Remedy: choose one of them or a dense model, or add its line to MIXTURES")


@pytest.mark.parametrize("name", EXPERTS_NAMES)
def test_a_derivative_with_experts_is_refused_though_it_keeps_the_model_type(name) -> None:
    config = CONFIG_MAPPING["llama"](**{name: 8})
    with pytest.raises(InputError, match="model=llama: where this mixture of experts computes its neurons is not known"):
        refuse_hidden_neurons(config)


@pytest.mark.parametrize(("name", "value"), [("num_local_experts", EXPERTS + 1), ("intermediate_size", WIDTH + 1)])
def test_other_experts_than_the_configuration_promises_are_refused(name, value) -> None:
    model = AutoModelForCausalLM.from_config(tiny_mixture("mixtral"))
    setattr(model.config, name, value)
    with pytest.raises(InputError, match=f"layer 0 has {EXPERTS} experts of {WIDTH} neurons where .* promises .*{value}"):
        neuron_sites(model)


def test_a_layer_with_none_of_its_modules_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(MIXTURES, "mixtral", ("layers.{layer}.moe.experts", "layers.{layer}.mlp.down_proj"))
    with pytest.raises(InputError, match=r"no module layers\.0\.moe\.experts or layers\.0\.mlp\.down_proj"):
        neuron_sites(AutoModelForCausalLM.from_config(tiny_mixture("mixtral")))


def test_quantized_experts_are_refused_by_the_name_of_their_module() -> None:
    model = AutoModelForCausalLM.from_config(tiny_mixture("mixtral"))
    experts = model.model.layers[1].mlp.experts
    experts.down_proj = nn.Parameter(experts.down_proj.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(InputError, match=r"the experts of layer 1 are quantized \(MixtralExperts\)"):
        neuron_sites(model)


# Experts in 4 bits ---------------------------------------------------------------------------------------------------------

FOUR_BITS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
"""What the last three bits of a number of mxfp4 stand for; the first is its sign."""


def packed(rows: int, columns: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random weights of mxfp4: two numbers to a byte, the exponent that 32 of a row share, and the weights they stand for."""
    blocks = torch.randint(0, 256, (EXPERTS, rows, columns // 32, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(123, 126, (EXPERTS, rows, columns // 32), generator=generator, dtype=torch.uint8)
    value = torch.tensor(FOUR_BITS + [-number for number in FOUR_BITS])
    numbers = torch.stack([value[(blocks & 15).long()], value[(blocks >> 4).long()]], dim=-1).flatten(-2)
    return blocks, scales, (numbers * 2.0 ** (scales.float() - 127)[..., None]).flatten(-2)


@torch.no_grad()
def test_experts_published_in_four_bits_are_restored(tokenizer, awakened, tmp_path, caplog) -> None:
    """gpt-oss as it is published, in small: its weights lie transposed, and each 32 numbers of a row share an exponent."""
    config = tiny_mixture("gpt_oss", intermediate_size=32)
    model = awakened(AutoModelForCausalLM.from_config(config))
    weights, generator, expected = model.state_dict(), torch.Generator().manual_seed(2), {}
    for layer in range(LAYERS):
        for matrix, rows in (("gate_up_proj", 64), ("down_proj", HIDDEN)):
            name = f"model.layers.{layer}.mlp.experts.{matrix}"
            blocks, scales, restored = packed(rows, 32, generator)
            del weights[name]
            weights |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
            expected[name] = restored.transpose(1, 2)
    tokenizer.save_pretrained(tmp_path)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, tmp_path / "model.safetensors", {"format": "pt"})
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    settings = {**config.to_dict(), "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": kept}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    reader = load_reader(tmp_path, ModelConfig(name="packed", path=str(tmp_path), dtype=Dtype.float32))
    for name, restored in expected.items():
        assert torch.equal(reader.model.get_parameter(name), restored)
    assert "the weights were published quantized (mxfp4)" in caplog.text
    whole = model.state_dict() | expected
    model.load_state_dict(whole)
    twin = Reader(model, reader.tokenizer, neuron_sites(model), prefix=[], context=None)
    for found, of_twin in zip(capture(reader, TEXTS, 100)["mean"], capture(twin, TEXTS, 100)["mean"], strict=True):
        torch.testing.assert_close(found, of_twin)


# What other pools and probes make of experts ---------------------------------------------------------------------------------


@torch.no_grad()
def test_gates_and_columns_are_those_of_the_weights(mixture) -> None:
    reader = mixture.reader
    found = capture(reader, TEXTS[:1], 100, ["gate_rate"])["gate_rate"]
    with calls(mixture.banks) as seen:
        mixture.logits()
    for layer, bank in mixture.banks.items():
        module, open_K = bank.module, torch.zeros(K)
        for x_D, experts in zip(seen[layer].x_XD, seen[layer].expert_XC.tolist(), strict=True):
            for expert in experts:
                weight = module.gate_up_proj[expert]
                first = x_D @ (weight if module.is_transposed else weight.T)
                gate = (first + module.gate_up_proj_bias[expert])[0::2] if module.has_bias else first[:WIDTH]
                open_K[expert * WIDTH : (expert + 1) * WIDTH] += gate > 0
        torch.testing.assert_close(found[layer][0][:K], open_K / len(seen[layer].x_XD), rtol=0, atol=1e-6)
        columns = torch.cat([matrix if module.is_transposed else matrix.T for matrix in module.down_proj])
        torch.testing.assert_close(reader.sites[layer].column_norms()[:K], columns.norm(dim=1))
        some_K = torch.tensor([K - 1, 0, WIDTH])
        torch.testing.assert_close(reader.sites[layer].columns(some_K), columns[some_K])


def test_attribution_is_the_slope_of_switching_a_neuron_off(tokenizer, awakened) -> None:
    """By finite differences, for neurons of routed and of shared experts."""
    model = awakened(AutoModelForCausalLM.from_config(tiny_mixture("deepseek_v3", vocab_size=len(tokenizer))))
    reader = Reader(model.double(), tokenizer, neuron_sites(model), prefix=[], context=None)
    worth = capture(reader, TEXTS[:1], 100, ["attribution"])["attribution"]
    ids_1T = torch.tensor(reader.token_ids(TEXTS[:1]))

    def loss(neuron: int, dose: float) -> float:
        where_L_N = [torch.zeros(width, dtype=torch.bool) for width in reader.widths]
        where_L_N[1][neuron] = True
        with torch.no_grad(), intervened(reader.sites, Intervention("off", where_L_N, dose=dose)):
            return float(model(ids_1T, labels=ids_1T).loss) * (ids_1T.shape[1] - 1) / ids_1T.shape[1]

    strongest = [int(worth[1][0][:K].abs().argmax()), K + int(worth[1][0][K:].abs().argmax())]
    for neuron in strongest:
        slope = (loss(neuron, 0.02) - loss(neuron, -0.02)) / 0.04
        assert float(worth[1][0][neuron]) == pytest.approx(slope, rel=1e-2)


@pytest.mark.parametrize(
    ("width", "dtype", "capability", "expected"),
    [
        (16, torch.bfloat16, (9, 0), True),
        (12, torch.bfloat16, (9, 0), False),  # a row of 24 bytes
        (12, torch.float32, (8, 0), True),
        (16, torch.bfloat16, (7, 5), False),
    ],
)
def test_a_gpu_that_cannot_multiply_all_experts_at_once_is_not_asked_to(width, dtype, capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    with FakeTensorMode():
        assert has_grouped_product(torch.empty(EXPERTS, HIDDEN, width, dtype=dtype, device="cuda")) == expected
    assert not has_grouped_product(torch.empty(EXPERTS, HIDDEN, width, dtype=dtype))
