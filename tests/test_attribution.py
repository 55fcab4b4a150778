"""What a neuron is worth: the slope of the loss where it is turned down, by finite differences; batches, prefixes, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lf_experiments as lf
from lf_experiments.config.schema import Dtype, ProbeConfig
from lf_experiments.errors import InputError
from lf_experiments.measures.probe import probe
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.interventions import Intervention, intervened

TEXTS = ["The child reads a book in the garden.", "No.", "孩子在花园里看书。"]
STEP = 1e-2
"""Not smaller: both models round to float32 on their way."""


@pytest.fixture
def exact(model_folder, load) -> Reader:
    """In float64, so that differences of losses are not rounding."""
    reader = load(model_folder)
    reader.model.double()
    return reader


@torch.no_grad()
def loss(reader: Reader, text: str, where_L_N: list[Tensor], dose: float) -> float:
    """The negative log-likelihood of a text in nats, token by token, with some neurons turned down."""
    (sequence,) = reader.sequences([text])
    with intervened(reader.sites, Intervention("some", where_L_N, dose=dose)):
        log_p_TV = reader.model(torch.tensor([sequence]), use_cache=False).logits[0].log_softmax(dim=1)
    return -sum(float(log_p_TV[place - 1, sequence[place]]) for place in range(reader.given, len(sequence)))


def slope(reader: Reader, text: str, where_L_N: list[Tensor]) -> float:
    """How fast the loss rises per token of the text as the neurons are turned down from what they are."""
    near, far = (loss(reader, text, where_L_N, step) - loss(reader, text, where_L_N, -step) for step in (STEP, 2 * STEP))
    return (8 * near - far) / (12 * STEP) / len(reader.token_ids([text])[0])


def where(reader: Reader, cells: list[tuple[int, int]]) -> list[Tensor]:
    """(layer, neuron) as masks."""
    masks = [torch.zeros(width, dtype=torch.bool) for width in reader.widths]
    for layer, neuron in cells:
        masks[layer][neuron] = True
    return masks


@pytest.mark.parametrize("prefix", [[], [7, 3]], ids=["no prefix", "a prefix"])
def test_it_is_the_slope_of_the_loss_at_a_dose_of_nothing(exact: Reader, prefix: list[int]) -> None:
    reader = replace(exact, prefix=prefix)
    worth_L_SN = capture(reader, TEXTS, 10**6, ["attribution"])["attribution"]
    for row, text in enumerate(TEXTS):
        for cell in [(0, 5), (1, 17), (2, 3)]:
            found = float(worth_L_SN[cell[0]][row, cell[1]])
            assert found == pytest.approx(slope(reader, text, where(reader, [cell])), rel=2e-3, abs=2e-5)
    assert worth_L_SN[0][0].abs().max() > 1e-3


def test_the_slope_of_a_region_is_the_sum_over_its_neurons(exact: Reader) -> None:
    worth_L_SN = capture(exact, TEXTS, 10**6, ["attribution"])["attribution"]
    cells = [(layer, neuron) for layer in range(3) for neuron in range(0, 40, 3)]
    expected = sum(float(worth_L_SN[layer][0, neuron]) for layer, neuron in cells)
    assert slope(exact, TEXTS[0], where(exact, cells)) == pytest.approx(expected, rel=2e-3, abs=2e-5)


def test_the_score_is_what_a_language_loses_beyond_the_others(exact: Reader) -> None:
    texts = {"en": TEXTS[:2], "fr": ["Non.", "Un enfant lit."], "zh": ["孩子在看书。", "不。"]}
    regions = probe(lf.capture(exact, texts, pool="attribution"), ProbeConfig("attribution", 0.0))
    for cell in [(0, 11), (2, 20)]:
        cost = {}
        for code, of_language in texts.items():
            lengths = list(map(len, exact.token_ids(of_language)))
            rises = [slope(exact, text, where(exact, [cell])) for text in of_language]
            cost[code] = sum(rise * length for rise, length in zip(rises, lengths, strict=True)) / sum(lengths)
        for row, code in enumerate(texts):
            expected = cost[code] - sum(value for other, value in cost.items() if other != code) / 2
            assert float(regions.score_L_GN[cell[0]][row, cell[1]]) == pytest.approx(expected, rel=2e-3, abs=2e-5)


def test_batches_and_padding_change_nothing(reader: Reader, sentences: list[str]) -> None:
    together, apart = (capture(reader, sentences, budget, ["attribution"])["attribution"] for budget in (10**6, 1))
    for one_SN, other_SN in zip(together, apart, strict=True):
        torch.testing.assert_close(one_SN, other_SN, rtol=1e-3, atol=1e-6)


def test_a_text_of_one_token_predicts_nothing(reader: Reader) -> None:
    assert not any(worth_SN.any() for worth_SN in capture(reader, ["x"], 100, ["attribution"])["attribution"])


def test_the_model_is_as_before(reader: Reader, sentences: list[str]) -> None:
    ids_1T = torch.tensor(reader.token_ids(sentences[1:2]))
    before = reader.model(ids_1T).logits
    capture(reader, sentences[:2], 100, ["attribution"])["attribution"]
    after = reader.model(ids_1T).logits
    assert torch.equal(before, after) and after.requires_grad
    assert all(parameter.grad is None for parameter in reader.model.parameters())
    assert not any(site.matrix._forward_pre_hooks for site in reader.sites)
    assert not reader.model.get_input_embeddings()._forward_hooks


def test_it_comes_beside_other_pools_and_alone(reader: Reader, sentences: list[str]) -> None:
    both = capture(reader, sentences[:3], 100, ["mean", "attribution"])
    alone = capture(reader, sentences[:3], 100, ["attribution"])
    assert list(both) == ["mean", "attribution"] and list(alone) == ["attribution"]
    assert all(torch.equal(*pair) for pair in zip(both["attribution"], alone["attribution"], strict=True))


def test_half_precision_is_near(model_folder, load) -> None:
    exact, half = (
        capture(load(model_folder, dtype), TEXTS, 100, ["attribution"])["attribution"]
        for dtype in (Dtype.float32, Dtype.bfloat16)
    )
    pairs = torch.stack([torch.cat([worth_SN.flatten() for worth_SN in each]) for each in (exact, half)])
    assert float(torch.corrcoef(pairs)[0, 1]) > 0.95 and half[0].dtype == torch.float32


def test_empty_texts_and_infinite_gradients_are_refused(model_folder, load) -> None:
    reader = load(model_folder)
    with pytest.raises(InputError, match="this sentence has no tokens"):
        capture(reader, [""], 10, ["attribution"])
    with torch.no_grad():
        reader.model.get_output_embeddings().weight[9] = float("inf")
    with pytest.raises(InputError, match="the gradients of the sentence 'No.' are NaN or infinite\nRemedy: use model.dtype"):
        capture(reader, ["No."], 100, ["attribution"])["attribution"]


@pytest.mark.slow
@pytest.mark.parametrize("code", ["en", "ar"])
def test_on_a_grown_model_it_is_what_single_neurons_cost(code: str, grown_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off one by one and altogether, not by a small dose: 60 neurons anywhere in the model."""
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(grown_cache))
    grown, texts = lf.load("bloom-nano", checkpoint=400), lf.sentences("miniature", sentences=12).texts[code]
    lengths = torch.tensor(list(map(len, grown.token_ids(texts)))).double()
    worth_SK = torch.cat(list(capture(grown, texts, 4096, ["attribution"])["attribution"]), dim=1).double()
    worth_K = lengths @ worth_SK / lengths.sum()
    chosen = torch.randperm(len(worth_K), generator=torch.Generator().manual_seed(0))[:60]

    def total(neurons: list[int]) -> float:
        where_K = torch.zeros(len(worth_K), dtype=torch.bool).index_fill_(0, torch.tensor(neurons, dtype=torch.int64), True)
        return sum(loss(grown, text, list(where_K.split(grown.widths)), 1.0) for text in texts)

    full = total([])
    costs = [(total([neuron]) - full) / float(lengths.sum()) for neuron in chosen.tolist()]
    pair = torch.stack([worth_K[chosen], torch.tensor(costs, dtype=torch.float64)])
    ranks = pair.argsort(dim=1).argsort(dim=1).double()
    assert float(torch.corrcoef(pair)[0, 1]) > 0.95
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.95
