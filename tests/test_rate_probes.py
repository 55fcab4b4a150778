"""LAPE, its variant and PLND: worked numbers, and token by token on random models against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import lf_experiments as lf
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import pool_of, probe
from lf_experiments.measures.regions import Regions
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations

LAPE, LAMBDA = ProbeConfig("lape", 0.99), ProbeConfig("lape_lambda", 0.9)


def rates(values_GN: list[list[float]], pool: str = "gate_rate") -> Activations:
    """One sentence of a thousand tokens per language, with these values of one layer."""
    codes = [f"language {number}" for number in range(len(values_GN))]
    return Activations([torch.tensor(values_GN)], codes, ["0"] * len(codes), torch.full((len(codes),), 1000), 1, pool)


def keys(regions: Regions) -> list[tuple[int, int, int]]:
    """(layer, language, neuron) of every key neuron."""
    return sorted(
        (layer, *cell) for layer, is_key_GN in enumerate(regions.is_key_L_GN) for cell in is_key_GN.nonzero().tolist()
    )


# Worked numbers -----------------------------------------------------------------------------------------------------------


def test_the_entropy_of_worked_rates() -> None:
    """Rates (0.8, 0.1, 0.1), the same in all languages, in one language only, and in two."""
    regions = probe(rates([[0.8, 0.5, 0.4, 0.3], [0.1, 0.5, 0, 0.3], [0.1, 0.5, 0, 0]]), LAPE)
    mixed = -(0.8 * math.log(0.8) + 2 * 0.1 * math.log(0.1))
    assert mixed == pytest.approx(0.6390, abs=1e-4)
    expected = [math.log(3) - mixed, 0, math.log(3), math.log(3) - math.log(2)]
    torch.testing.assert_close(regions.score_L_GN[0][0], torch.tensor(expected, dtype=torch.float64))


def test_a_neuron_is_of_the_languages_in_which_it_is_active_more_often_than_95_percent_of_rates() -> None:
    """40 neurons of three languages: the bar is the 114th of 120 rates. The six above it are of three neurons."""
    values = [[0.1] * 40 for _ in range(3)]
    for language, neuron, rate in [(0, 5, 0.9), (1, 5, 0.9), (2, 5, 0.9), (0, 6, 0.8), (1, 6, 0.8), (2, 7, 0.7)]:
        values[language][neuron] = rate
    values[0][8] = values[1][8] = 0.0  # the least even of all, and never active enough
    regions = probe(rates(values), ProbeConfig("lape", 0.0))
    assert keys(regions) == [(0, 0, 5), (0, 0, 6), (0, 1, 5), (0, 1, 6), (0, 2, 5), (0, 2, 7)]
    assert regions.z_L_GN[0][2, 7] == 1 and regions.z_L_GN[0][0, 6] == 1 - 1 / 40 and regions.z_L_GN[0][0, 5] == 1 - 2 / 40
    assert keys(probe(rates(values), ProbeConfig("lape", 0.98))) == [(0, 2, 7)]


def test_the_tokens_of_a_language_weigh_alike_not_its_sentences() -> None:
    activations = Activations(
        [torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.25, 1.0], [0.125, 1.0]])],
        ["a", "a", "b", "b"],
        ["0", "1", "0", "1"],
        torch.tensor([3, 1, 4, 8]),
        1,
        "gate_rate",
    )
    share = (3 / 4) / (3 / 4 + 2 / 12)
    expected = math.log(2) + share * math.log(share) + (1 - share) * math.log(1 - share)
    assert float(probe(activations, LAPE).score_L_GN[0][0, 0]) == pytest.approx(expected)


def test_the_bonus_of_a_high_rate() -> None:
    """Two neurons of equal entropy: the one that is active more often is ranked before the other, if the bonus counts."""
    values = [[0.8, 0.08, 0.1], [0.2, 0.02, 0.1]]
    regions = probe(rates(values), ProbeConfig("lape_lambda", 0.0, weight=0.5))
    even = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)) / math.log(2)
    expected = [0.5 * 0.8 / 0.75 - even, 0.5 * 0.08 / 0.75 - even, 0.5 * 0.1 / 0.75 - 1]
    torch.testing.assert_close(regions.score_L_GN[0][0], torch.tensor(expected, dtype=torch.float64))
    without = probe(rates(values), ProbeConfig("lape_lambda", 0.0, weight=0.0))
    torch.testing.assert_close(without.score_L_GN[0][0, :1], without.score_L_GN[0][0, 1:2])


def test_plnd_keeps_what_matters_in_every_sentence_of_a_language_but_not_of_all() -> None:
    """Ten neurons; above 0.7 are the three that matter most. Neuron 0 always does, 1 in French, 2 in one French sentence."""
    en, fr = [[9, 1, 0, 8, 7, 0, 0, 0, 0, 0], [9, 1, 0, 8, 7, 0, 0, 0, 0, 0]], [[9, 8, 7] + [0] * 7, [9, 8, 1, 7] + [0] * 6]
    activations = Activations(
        [torch.tensor(en + fr, dtype=torch.float32)], ["en"] * 2 + ["fr"] * 2, ["0", "1"] * 2, torch.ones(4).long(), 1, "impact"
    )
    regions = probe(activations, ProbeConfig("plnd", 0.65))
    assert keys(regions) == [(0, 0, 3), (0, 0, 4), (0, 1, 1)]
    assert regions.score_L_GN[0][0, 0] == 0.9 and regions.z_L_GN[0][0, 0] == -torch.inf


@pytest.mark.parametrize("config", [LAPE, LAMBDA])
def test_silent_neurons_are_of_no_language(config: ProbeConfig) -> None:
    regions = probe(rates([[0.0] * 30 + [0.9]] * 2), ProbeConfig(config.name, 0.0))
    assert keys(regions) == [(0, 0, 30), (0, 1, 30)]
    assert all(score_GN.isfinite().all() for score_GN in regions.score_L_GN)


# On random models ---------------------------------------------------------------------------------------------------------


def columns(reader: Reader, texts: list[str], neurons: str) -> Tensor:
    """The neurons or gates of all layers at every token of some texts, read one by one, (T, K), by hooks of this test."""
    seen: list[Tensor] = []
    handles = []
    for site in reader.sites:
        mlp = next(module for module in reader.model.modules() if site.matrix in module.children())
        if neurons == "gates" and hasattr(mlp, "gate_proj"):
            handles.append(mlp.gate_proj.register_forward_hook(lambda *given: seen.append(given[-1][0].clone())))
        else:
            handles.append(site.matrix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].clone())))
    rows = []
    for text in texts:
        seen.clear()
        with torch.no_grad():
            reader.model(torch.tensor(reader.token_ids([text])), use_cache=False)
        rows.append(torch.cat(seen, dim=1))
    for handle in handles:
        handle.remove()
    return torch.cat(rows)


def lape_by_hand(p_GK: list[list[float]], weight: float | None, share: float) -> set[tuple[int, int]]:
    """(language, neuron) that the published rule selects, by sorting lists."""
    languages, neurons = len(p_GK), len(p_GK[0])
    bar = sorted(value for p_K in p_GK for value in p_K)[round(0.95 * languages * neurons) - 1]
    rank = {}
    for neuron in range(neurons):
        p = [p_K[neuron] for p_K in p_GK]
        if max(p) > bar:
            entropy = -sum(value / sum(p) * math.log(value / sum(p)) for value in p if value)
            largest = sum(1 / place for place in range(1, languages + 1)) / languages
            rank[neuron] = entropy if weight is None else entropy / math.log(languages) - weight * max(p) / largest
    kept = [neuron for neuron in rank if sum(rank[other] < rank[neuron] - 1e-9 for other in rank) < share * neurons]
    return {(language, neuron) for language in range(languages) for neuron in kept if p_GK[language][neuron] > bar}


@pytest.mark.parametrize(("config", "weight"), [(LAPE, None), (LAMBDA, 1.0)])
def test_lape_selects_what_counting_tokens_selects(
    reader: Reader, parallel: dict[str, list[str]], config: ProbeConfig, weight: float | None
) -> None:
    activations = lf.capture(reader, parallel, pool=pool_of(config))
    for share in (0.02, 0.1):
        regions = probe(activations, ProbeConfig(config.name, 1 - share))
        p_GK = [(columns(reader, texts, "gates") > 0).double().mean(dim=0).tolist() for texts in parallel.values()]
        is_key_GK = torch.cat(regions.is_key_L_GN, dim=1)
        assert set(map(tuple, is_key_GK.nonzero().tolist())) == lape_by_hand(p_GK, weight, share)
        assert is_key_GK.any()


def test_plnd_selects_what_every_sentence_selects(reader: Reader, parallel: dict[str, list[str]]) -> None:
    regions = probe(lf.capture(reader, parallel, pool="impact"), ProbeConfig("plnd", 0.6))
    norms_K = torch.cat([site.matrix.weight.norm(dim=0) for site in reader.sites])
    selected = []
    for texts in parallel.values():
        of_sentences = []
        for text in texts:
            impact_K = (columns(reader, [text], "neurons").abs().mean(dim=0) * norms_K).tolist()
            ordered = sorted(impact_K)
            of_sentences.append({k for k, value in enumerate(impact_K) if ordered.index(value) / len(ordered) > 0.6})
        selected.append(set.intersection(*of_sentences))
    expected = {(language, k) for language, of in enumerate(selected) for k in of - set.intersection(*selected)}
    assert set(map(tuple, torch.cat(regions.is_key_L_GN, dim=1).nonzero().tolist())) == expected and expected
