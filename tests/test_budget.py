"""How many neurons a region has is chosen apart from the method: by its threshold, by a share, or as many as another method."""

import pytest
import torch
from recorded import labelled
from torch import Tensor

from lf_experiments.config.checks import check_probe
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.errors import InputError
from lf_experiments.measures.probe import pools_of, probe
from lf_experiments.measures.selection import highest
from lf_experiments.neurons.activations import Activations

LANGUAGES, SENTENCES, WIDTHS = 6, 5, [30, 20]
LANGUAGE_S = torch.arange(LANGUAGES).repeat_interleave(SENTENCES)


@pytest.fixture
def activations() -> Activations:
    generator = torch.Generator().manual_seed(0)
    return labelled([torch.randn(len(LANGUAGE_S), width, generator=generator) for width in WIDTHS], LANGUAGE_S)


def joined(values_L_GN: list[Tensor]) -> Tensor:
    return torch.cat(values_L_GN, dim=1)


@pytest.mark.parametrize("name", ["zscore", "cohen_d"])
def test_the_top_share_are_the_neurons_with_the_highest_z_of_the_whole_model(activations: Activations, name: str) -> None:
    regions = probe(activations, ProbeConfig(name, 99.0, "top:0.1"))
    for z_K, is_key_K in zip(joined(regions.z_L_GN).tolist(), joined(regions.is_key_L_GN).tolist(), strict=True):
        expected = sorted(range(50), key=lambda neuron: -z_K[neuron])[:5]  # noqa: B023
        assert [neuron for neuron, is_key in enumerate(is_key_K) if is_key] == sorted(expected)


def test_as_many_as_another_method_finds_for_each_language(activations: Activations) -> None:
    counted = probe(activations, ProbeConfig("zscore", 2.0))
    regions = probe(activations, ProbeConfig("cohen_d", 99.0, "as:zscore"))
    sizes = [each.size_LG.sum(dim=0).tolist() for each in (regions, counted)]
    assert sizes[0] == sizes[1] and len(set(sizes[0])) > 1
    assert joined(regions.is_key_L_GN).sum() > 0
    assert not torch.equal(joined(regions.is_key_L_GN), joined(counted.is_key_L_GN))


def test_a_method_at_its_own_budget_is_itself(activations: Activations) -> None:
    by_threshold, by_budget = (probe(activations, ProbeConfig("zscore", 2.0, budget)) for budget in ("threshold", "as:zscore"))
    assert torch.equal(joined(by_threshold.is_key_L_GN), joined(by_budget.is_key_L_GN))


def test_neurons_that_cannot_be_key_are_in_no_region_and_ties_go_by_layer() -> None:
    z_L_GN = [torch.tensor([[1.0, -torch.inf, 2.0]]), torch.tensor([[2.0, -torch.inf]])]
    found = [joined(highest(z_L_GN, torch.tensor([size])))[0].nonzero()[:, 0].tolist() for size in (1, 2, 5)]
    assert found == [[2], [2, 3], [0, 2, 3]]


def test_a_run_keeps_what_the_budget_reads(tmp_path, monkeypatch) -> None:
    (tmp_path / "by_rate.py").write_text('POOL = "rate"\ndef by_rate(activations, config): ...\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert pools_of(ProbeConfig("by_rate:by_rate", 0.0, "as:zscore")) == ["mean", "rate"]
    assert pools_of(ProbeConfig("zscore", 0.0, "as:by_rate:by_rate")) == ["mean", "rate"]


def test_pools_that_are_not_there_are_told(activations: Activations, tmp_path, monkeypatch) -> None:
    (tmp_path / "by_size.py").write_text('POOL = "magnitude"\ndef by_size(activations, config): ...\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="the probe by_size:by_size reads the pool magnitude, not mean"):
        probe(activations, ProbeConfig("by_size:by_size"))
    with pytest.raises(ValueError, match="the probe by_size:by_size reads the pool magnitude, not mean"):
        probe(activations, ProbeConfig("zscore", 2.0, "as:by_size:by_size"))


@pytest.mark.parametrize("budget", ["top", "top:", "top:0", "top:1.5", "top:nan", "top:5%", "as:", "all", "", "threshold:2"])
def test_a_budget_that_is_none_is_refused(budget: str) -> None:
    with pytest.raises(
        InputError, match=r"probe.budget=.*none of threshold, top:<share>.*\nRemedy: give probe.budget=top:0.01"
    ):
        check_probe(ProbeConfig("zscore", 2.0, budget), 9)


def test_a_budget_by_a_method_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="probe.budget=lapd: there is none of this name"):
        check_probe(ProbeConfig("zscore", 2.0, "as:lapd"), 9)


def test_a_budget_by_a_threshold_that_nothing_can_pass_is_refused_but_not_the_own_one_that_is_not_used() -> None:
    with pytest.raises(
        InputError,
        match=r"probe.budget=as:zscore: no z-score over 4 languages can exceed.*\nRemedy: give probe.budget=top:<share>",
    ):
        check_probe(ProbeConfig("cohen_d", 0.8, "as:zscore"), 4)
    check_probe(ProbeConfig("zscore", 2.0, "top:0.1"), 4)
