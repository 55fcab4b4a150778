"""Layers of different widths, from the site to the key region that is switched off; and configurations that say so."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.errors import InputError
from lf_experiments.measures.probe import probe
from lf_experiments.measures.regions import random_region, region_of
from lf_experiments.measures.similarity import compare
from lf_experiments.models.families import neuron_sites, widths_of
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations, Kept
from lf_experiments.neurons.capture import NewRows, capture, capture_sentences
from lf_experiments.neurons.interventions import intervened, nothing
from lf_experiments.neurons.kept_capture import kept_captures

WIDTHS = [24, 7, 40]


@pytest.fixture(scope="module")
def reader(tokenizer, awakened) -> Reader:
    """A LLaMA whose layers have MLPs of their own widths, as its configuration says."""
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    for layer, width in enumerate(WIDTHS):
        config.intermediate_size = width
        model.model.layers[layer].mlp = LlamaMLP(config)
    vars(config)["intermediate_size"] = WIDTHS  # transformers would refuse a list for LLaMA
    model = awakened(model)
    return Reader(model, tokenizer, neuron_sites(model), prefix=[], context=None)


@pytest.fixture(scope="module")
def sentences(parallel) -> ParallelSentences:
    return ParallelSentences(["no", "book", "horses"], parallel)


@pytest.fixture(scope="module")
def activations(reader, sentences) -> Activations:
    return capture_sentences(reader, sentences, 200)["mean"]


def joined_layers(activations: Activations) -> np.ndarray:
    """(S, K): the layers side by side, as eq. (6) has them."""
    return torch.cat(list(activations.h_L_SN), dim=1).double().numpy()


def test_a_reader_knows_the_width_of_every_layer(reader: Reader) -> None:
    assert reader.widths == widths_of(reader.model.config) == WIDTHS
    assert reader.num_neurons == sum(WIDTHS)


@torch.no_grad()
def neurons_by_hand(reader: Reader, text: str) -> list[torch.Tensor]:
    """The neurons of every token of one sentence by eq. (3), layer by layer (T, N), from what each MLP receives."""
    seen: list[torch.Tensor] = []

    def see(mlp: LlamaMLP, inputs: tuple[torch.Tensor]) -> None:
        seen.append((mlp.act_fn(mlp.gate_proj(inputs[0])) * mlp.up_proj(inputs[0]))[0])

    handles = [block.mlp.register_forward_pre_hook(see) for block in reader.model.model.layers]
    reader.model(torch.tensor(reader.token_ids([text])))
    for handle in handles:
        handle.remove()
    return seen


def test_a_capture_has_the_neurons_of_every_layer(reader: Reader, sentences: ParallelSentences, activations) -> None:
    texts = [text for of_language in sentences.texts.values() for text in of_language]
    assert activations.widths == WIDTHS and activations.num_neurons == sum(WIDTHS)
    assert activations.languages == [code for code in sentences.texts for _ in range(3)]
    assert activations.meanings == ["no", "book", "horses"] * 6
    for row, text in enumerate(texts):
        for layer, h_TN in enumerate(neurons_by_hand(reader, text)):
            torch.testing.assert_close(activations.h_L_SN[layer][row], h_TN.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_kept_capture_has_them_too(activations: Activations, sentences: ParallelSentences, tmp_path: Path) -> None:
    def made(_sentences: ParallelSentences, _pools: Sequence[str], new_rows: NewRows) -> dict[str, Activations]:
        rows = new_rows(Kept("mean", WIDTHS, activations.num_parameters), len(activations.languages))
        for row in range(len(activations.languages)):
            rows.write([row], activations.sentence(row)[None])
        return {"mean": activations}

    kept_captures(tmp_path, sentences, ["mean"], made)
    found = kept_captures(tmp_path, sentences, ["mean"], lambda *_: pytest.fail("made again"))["mean"]
    assert all(map(torch.equal, found.h_L_SN, activations.h_L_SN)) and found.widths == WIDTHS


def test_scores_and_regions_are_the_papers(activations: Activations, by_hand) -> None:
    languages, meanings = activations.language_S.tolist(), activations.meaning_S.tolist()
    a_SK = by_hand.unit_vectors(joined_layers(activations)[None])
    map_SS = by_hand.similarity(a_SK)
    comparison = compare(activations)
    np.testing.assert_allclose(comparison.similarity_SS, map_SS, atol=1e-6)
    assert comparison.whole["lrds"] == pytest.approx(by_hand.lrds(map_SS, languages, meanings), abs=1e-6)
    assert comparison.whole["sads"] == pytest.approx(by_hand.sads(map_SS, languages, meanings), abs=1e-6)
    assert comparison.by_layer()["layer"].tolist() == [0, 1, 2]

    score_GK, z_GK = (value_GLN[:, 0] for value_GLN in by_hand.scores_and_z(joined_layers(activations)[None], languages))
    regions = probe(activations, ProbeConfig("zscore", 1.0))
    np.testing.assert_allclose(torch.cat(regions.score_L_GN, dim=1), score_GK, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(torch.cat(regions.z_L_GN, dim=1), z_GK, rtol=1e-6, atol=1e-6)
    assert regions.sklr == (z_GK > 1.0).sum() > 0


def test_the_tables_name_every_key_neuron_and_the_width_of_its_layer(activations: Activations) -> None:
    regions = probe(activations, ProbeConfig("zscore", 1.0))
    sizes, key_neurons = regions.sizes(), regions.key_neurons()
    assert sizes["neurons"].tolist() == WIDTHS * 6
    assert sizes["language"].tolist() == [code for code in activations.language_codes for _ in WIDTHS]
    for size in sizes.itertuples():
        rows = key_neurons[(key_neurons["language"] == size.language) & (key_neurons["layer"] == size.layer)]
        is_key_N = regions[size.language].where_L_N[size.layer]
        assert rows["neuron"].tolist() == is_key_N.nonzero().flatten().tolist() and len(rows) == size.key_neurons
    for language in activations.language_codes:
        read = region_of(language, key_neurons, WIDTHS)
        assert all(map(torch.equal, read.where_L_N, regions[language].where_L_N))
        assert read.size == regions[language].size > 0
    first = key_neurons.iloc[0]
    row = activations.language_codes.index(first["language"])
    assert first["score"] == float(regions.score_L_GN[first["layer"]][row, first["neuron"]])
    assert first["z"] == float(regions.z_L_GN[first["layer"]][row, first["neuron"]]) > 1.0


@torch.no_grad()
def test_a_region_is_switched_off_in_layers_of_any_width(reader: Reader, activations: Activations) -> None:
    region = probe(activations, ProbeConfig("zscore", 1.0))["hi"]
    ids_1T = torch.tensor(reader.token_ids(["The child reads a book."]))
    before = reader.model(ids_1T).logits
    with intervened(reader.sites, nothing(WIDTHS)):
        assert torch.equal(reader.model(ids_1T).logits, before)
    with intervened(reader.sites, region.zero()):
        without = reader.model(ids_1T).logits
        h_L_SN = capture(reader, ["x"], 10)["mean"]
    assert not torch.equal(without, before)
    assert torch.equal(reader.model(ids_1T).logits, before)
    for h_SN, where_N in zip(h_L_SN, region.where_L_N, strict=True):
        assert torch.equal(h_SN[0] == 0, where_N)


@pytest.mark.parametrize("size", [0, 1, 30, sum(WIDTHS)])
def test_random_regions_are_drawn_from_the_whole_model(size: int) -> None:
    region = random_region(WIDTHS, size, seed=3)
    assert region.size == size and [len(where_N) for where_N in region.where_L_N] == WIDTHS
    drawn_K = torch.randperm(sum(WIDTHS), generator=torch.Generator().manual_seed(3))[:size]
    assert torch.equal(torch.cat(region.where_L_N).nonzero().flatten(), drawn_K.sort().values)
    assert region.zero(draw=4).draw == 4 and region.zero().name == "random"


def test_a_region_of_another_model_is_refused(reader: Reader) -> None:
    other = nothing([*WIDTHS[:2], 41])
    with (
        pytest.raises(ValueError, match="a region of 41 neurons does not fit layer 2, which has 40"),
        intervened(reader.sites, other),
    ):
        pass


def test_a_layer_that_is_not_as_wide_as_the_list_says_is_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(reader.model.config), "intermediate_size", [24, 8, 40])
    with pytest.raises(InputError, match="layer 1 has 7 neurons where the configuration promises 8"):
        neuron_sites(reader.model)


def test_a_list_of_another_length_than_the_layers_is_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(reader.model.config), "intermediate_size", [24, 7])
    with pytest.raises(InputError, match="model=llama: its configuration gives the width of 2 layers and has 3"):
        neuron_sites(reader.model)


def test_one_width_stands_for_every_layer() -> None:
    assert widths_of(LlamaConfig(intermediate_size=48, num_hidden_layers=3)) == [48] * 3


@torch.no_grad()
def test_a_model_whose_configuration_lists_the_widths_is_loaded_with_them(tokenizer, awakened, load, tmp_path: Path) -> None:
    """Gemma 3n, with half of the gate of its second layer cut off before the neurons."""
    config = Gemma3nTextConfig(
        vocab_size=len(tokenizer),
        vocab_size_per_layer_input=len(tokenizer),
        hidden_size=32,
        hidden_size_per_layer_input=4,
        intermediate_size=WIDTHS,
        activation_sparsity_pattern=[0.0, 0.5, 0.0],
        num_hidden_layers=3,
        num_kv_shared_layers=0,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        laurel_rank=4,
    )
    awakened(Gemma3nForCausalLM(config)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reader = load(tmp_path)
    assert reader.widths == WIDTHS
    rate = capture(reader, ["The child reads a book in the garden."], 300, ["rate"])["rate"]
    received: list[torch.Tensor] = []
    for block in reader.model.model.layers:
        block.mlp.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0][0]))
    reader.model(torch.tensor(reader.token_ids(["The child reads a book in the garden."])))
    for layer, (block, x_TD) in enumerate(zip(reader.model.model.layers, received, strict=True)):
        gate_TN, up_TN = block.mlp.gate_proj(x_TD), block.mlp.up_proj(x_TD)
        if layer == 1:
            gate_TN = (gate_TN - gate_TN.mean(dim=1, keepdim=True)).relu()  # 0.5: the cut is at the mean
        h_TN = torch.nn.functional.gelu(gate_TN, approximate="tanh") * up_TN
        torch.testing.assert_close(rate[layer][0], (h_TN > 0).float().mean(dim=0), rtol=0, atol=1e-6)
