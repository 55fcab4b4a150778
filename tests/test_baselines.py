"""Baselines: bags of tokens by hand, random weights as seeded, and paired differences that are those of the estimates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lf_experiments.config.schema import ModelConfig
from lf_experiments.measures.baselines import COLUMNS, baseline_table, token_map
from lf_experiments.measures.uncertainty.components import COMPONENTS, components
from lf_experiments.models.load import load_reader
from lf_experiments.models.untrained import load_untrained

G, MEANINGS = 3, 8


def similarity(seed: int) -> torch.Tensor:
    a_SN = torch.randn(G * MEANINGS, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
    a_SN /= a_SN.norm(dim=1, keepdim=True)
    return a_SN @ a_SN.T


def test_the_map_of_tokens_is_the_cosine_of_their_counts() -> None:
    sequences = [[5, 9, 5], [9, 5], [70000, 9], [3]]
    vectors = [{5: 2, 9: 1}, {5: 1, 9: 1}, {70000: 1, 9: 1}, {3: 1}]
    for row, one in enumerate(vectors):
        for column, other in enumerate(vectors):
            product = sum(count * other.get(token, 0) for token, count in one.items())
            sizes = [np.sqrt(sum(count**2 for count in bag.values())) for bag in (one, other)]
            assert float(token_map(sequences)[row, column]) == pytest.approx(product / sizes[0] / sizes[1], abs=1e-12)


def test_differences_are_paired_by_meaning_and_by_document() -> None:
    model, other = similarity(1), similarity(2)
    table = baseline_table(model, {"tokens": other}, G, 0.95, None)
    assert list(table) == COLUMNS
    assert table["score"].tolist() == list(COMPONENTS)
    row = table.set_index("score").loc["sads"]
    difference = components(model, G)["sads"] - components(other, G)["sads"]
    assert row[["difference_lo", "difference_hi"]].tolist() == pytest.approx(difference.interval(0.95))
    assert row["value"] == components(other, G)["sads"].value
    document_M = torch.arange(MEANINGS) // 2
    grouped = baseline_table(model, {"tokens": other}, G, 0.95, document_M).set_index("score").loc["sads"]
    assert grouped[["lo", "hi"]].tolist() == pytest.approx(components(other, G)["sads"].of_groups(document_M).interval(0.95))


def test_a_baseline_equal_to_the_model_differs_by_nothing() -> None:
    table = baseline_table(similarity(1), {"random_weights": similarity(1)}, G, 0.95, None)
    assert (table[["difference", "difference_lo", "difference_hi"]].abs() < 1e-12).all(axis=None)


def test_without_a_level_or_with_two_meanings_there_are_no_ends() -> None:
    ends = ["lo", "hi", "difference_lo", "difference_hi"]
    assert baseline_table(similarity(1), {"tokens": similarity(2)}, G, None, None)[ends].isna().all(axis=None)
    few = [row for row in range(G * MEANINGS) if row % MEANINGS < 2]
    small = similarity(1)[few][:, few]
    assert baseline_table(small, {"tokens": small}, G, 0.95, None)[ends].isna().all(axis=None)


@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_random_weights_are_those_of_the_seed_and_not_those_of_the_model(family: str, model_folders: dict[str, Path]) -> None:
    config = ModelConfig(name=family, path=str(model_folders[family]))
    trained = load_reader(model_folders[family], config)
    before = torch.random.get_rng_state()
    one, same, other = (load_untrained(model_folders[family], config, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.widths == trained.widths and one.num_parameters == trained.num_parameters
    assert one.prefix == trained.prefix and one.context == trained.context
    states = [reader.model.state_dict() for reader in (one, same, other, trained)]
    matrices = [name for name, weight in states[0].items() if weight.ndim == 2]
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name
        assert states[0][name].isfinite().all() and states[0][name].dtype == states[3][name].dtype
    for name in matrices:
        assert not torch.equal(states[0][name], states[2][name]), name
        assert not torch.equal(states[0][name], states[3][name]), name
        assert 0.001 < float(states[0][name].std()) < 1
