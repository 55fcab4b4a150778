"""Neurons described: the strongest ones, when they are active and what they write, by brute force."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.pytorch_utils import Conv1D

from lf_experiments.errors import InputError
from lf_experiments.measures.described import described, strongest
from lf_experiments.models.families import neuron_sites
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.sites import DenseSite, JointSite
from lf_experiments.neurons.words import WORDS, readable, written_words


def test_the_strongest_neurons_have_the_highest_z_and_then_the_highest_score() -> None:
    rows = [("fr", 1, 2.0, 1.0), ("en", 2, 2.8279, 0.5), ("fr", 3, 2.5, 0.1), ("en", 4, 2.8284, 0.2), ("en", 5, 2.1, 9.0)]
    table = pd.DataFrame(rows, columns=["language", "neuron", "z", "score"])
    assert strongest(table, ["en", "fr", "zh"], 2)["neuron"].tolist() == [2, 4, 3, 1]
    assert strongest(table, ["en", "fr"], 1)["neuron"].tolist() == [2, 3]
    assert list(strongest(table, ["en"], 9)) == list(table)


def test_a_neuron_is_described_by_its_means_and_its_sentences() -> None:
    rng = np.random.default_rng(0)
    languages = ["en", "fr", "en", "zh", "fr", "zh", "en", "fr", "zh"]
    h_L_SN = [torch.from_numpy(rng.normal(size=(9, width)).astype(np.float32)) for width in (4, 6)]
    activations = Activations(h_L_SN, languages, list("abbacacca"), torch.ones(9, dtype=torch.long), 1)
    chosen = pd.DataFrame({"layer": [1, 0, 1], "neuron": [5, 2, 0]})
    found = described(chosen, activations)
    pd.testing.assert_frame_equal(found[["layer", "neuron"]], chosen)
    for _, row in found.iterrows():
        values = [float(h_SN[row["neuron"]]) for h_SN in h_L_SN[row["layer"]]]
        means = [np.mean([v for v, code in zip(values, languages, strict=True) if code == name]) for name in ("en", "fr", "zh")]
        assert row["mean"] == pytest.approx(means)
        order = sorted(range(9), key=lambda place: -values[place])[:5]
        assert row["sentences"] == order
        assert row["activations"] == pytest.approx([values[place] for place in order])


def test_no_neurons_are_described_by_nothing() -> None:
    activations = Activations([torch.ones(2, 3)], ["en", "fr"], ["a", "a"], torch.ones(2, dtype=torch.long), 1)
    found = described(pd.DataFrame({"layer": [], "neuron": []}), activations)
    assert found.empty and list(found) == ["layer", "neuron", "mean", "sentences", "activations"]


class Opaque(nn.Module):
    """A matrix whose weights cannot be seen."""

    def __init__(self, matrix: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.hidden = matrix.in_features, matrix

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.hidden(h)


def test_columns_are_those_of_the_matrix_however_it_keeps_them() -> None:
    linear, conv, places = nn.Linear(7, 3), Conv1D(3, 7), torch.tensor([6, 0, 4])
    torch.testing.assert_close(DenseSite(linear).columns(places), linear.weight.T[places])
    torch.testing.assert_close(DenseSite(conv).columns(places), conv.weight[places])
    torch.testing.assert_close(DenseSite(Opaque(linear)).columns(places), linear.weight.T[places], rtol=1e-4, atol=1e-6)
    joint = JointSite([DenseSite(linear), DenseSite(conv)])
    torch.testing.assert_close(
        joint.columns(torch.tensor([8, 1, 13])), torch.stack([conv.weight[1], linear.weight.T[1], conv.weight[6]])
    )


@pytest.fixture
def reader(tokenizer) -> Reader:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    model = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(tokenizer), **sizes)).eval()
    return Reader(model, tokenizer, neuron_sites(model), prefix=[], context=None)


@torch.no_grad()
def test_the_words_of_a_neuron_are_those_whose_logits_its_column_raises_most(reader) -> None:
    layers, neurons = [1, 0, 1], [23, 4, 0]
    found = written_words(reader, layers, neurons)
    for words, layer, neuron in zip(found, layers, neurons, strict=True):
        column = reader.model.model.layers[layer].mlp.down_proj.weight[:, neuron]
        order = sorted(range(len(reader.tokenizer)), key=lambda token: -float(reader.model.lm_head.weight[token] @ column))
        expected = [reader.tokenizer.decode([token]) for token in order]
        assert words == [word for word in expected if word.strip() and "\ufffd" not in word][: len(words)]
        assert 0 < len(words) <= WORDS


def test_words_that_no_reader_can_read_are_passed_over() -> None:
    assert readable(["\ufffd", " a", "", "  ", *"bcdefghij"]) == [" a", *"bcdefgh"]


def test_where_the_weights_cannot_be_asked_there_are_no_words(reader, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("control.match", "impact", "no", "none")

    monkeypatch.setattr(DenseSite, "columns", refuse)
    assert written_words(reader, [0, 1], [1, 2]) == [[], []]


def test_a_head_that_is_narrower_than_the_residual_stream_gives_no_words(reader, monkeypatch) -> None:
    monkeypatch.setattr(reader.model, "get_output_embeddings", lambda: nn.Linear(8, len(reader.tokenizer)))
    assert written_words(reader, [0], [1]) == [[]]
