"""Random controls: as large as their region, never in it, and like it where that is asked for."""

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lf_experiments.errors import InputError
from lf_experiments.measures.controls import MATCHES, control, impact, mean_difference, worst_difference
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.sites import DenseSite

WIDTHS = [400, 600, 500]


@pytest.fixture
def impact_L_N() -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(width, generator=random).mul(1.5).exp() for width in WIDTHS]


@pytest.fixture
def strong_L_N(impact_L_N: list[Tensor]) -> list[Tensor]:
    """A region that prefers neurons of large impact, larger in the last layer."""
    random = torch.Generator().manual_seed(1)
    shares = (0.03, 0.05, 0.07)
    return [
        torch.rand(len(impact_N), generator=random) < share * impact_N.log().add(1.5).clamp(0, 4)
        for share, impact_N in zip(shares, impact_L_N, strict=True)
    ]


@pytest.mark.parametrize("match", MATCHES)
def test_a_control_is_as_large_as_its_region_and_outside_it(
    match: str, strong_L_N: list[Tensor], impact_L_N: list[Tensor]
) -> None:
    found = control(match, strong_L_N, impact_L_N, seed=3)
    assert [len(where_N) for where_N in found.where_L_N] == WIDTHS
    assert found.size == sum(int(region_N.sum()) for region_N in strong_L_N)
    assert found.shortfall == 0
    assert not any((where_N & region_N).any() for where_N, region_N in zip(found.where_L_N, strong_L_N, strict=True))
    if match != "uniform":
        assert [int(w.sum()) for w in found.where_L_N] == [int(r.sum()) for r in strong_L_N]


@pytest.mark.parametrize("match", MATCHES)
def test_equal_seeds_give_equal_controls(match: str, strong_L_N: list[Tensor], impact_L_N: list[Tensor]) -> None:
    one, again, other = (torch.cat(control(match, strong_L_N, impact_L_N, seed).where_L_N) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_matched_controls_have_the_impact_of_the_region_and_others_have_not(strong_L_N, impact_L_N) -> None:
    differences = {}
    for match in MATCHES:
        where_L_N = control(match, strong_L_N, impact_L_N, seed=5).where_L_N
        differences[match] = [abs(mean_difference(w, r, i)) for w, r, i in zip(where_L_N, strong_L_N, impact_L_N, strict=True)]
    assert max(differences["impact"]) < 0.1
    assert min(differences["layer"]) > 0.3
    assert min(differences["uniform"]) > 0.3


def test_a_region_of_most_of_a_layer_leaves_too_few_others_and_says_so() -> None:
    region_N = torch.arange(10) < 7
    for match in ("layer", "impact"):
        found = control(match, [region_N], [torch.arange(1.0, 11.0)], seed=0)
        assert found.size == 3
        assert found.shortfall == 4


def test_an_empty_region_has_an_empty_control(impact_L_N: list[Tensor]) -> None:
    empty = [torch.zeros(width, dtype=torch.bool) for width in WIDTHS]
    assert [control(match, empty, impact_L_N, seed=0).size for match in MATCHES] == [0, 0, 0]


@pytest.mark.parametrize("share", [0.02, 0.05, 0.15])
def test_matched_controls_are_within_a_tenth_of_a_deviation_in_every_layer_of_twenty_neurons(share: float) -> None:
    """Over many regions that prefer strong neurons."""
    worst = []
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        impact_L_N = [torch.randn(width, generator=random).mul(1.5).exp() for width in (800, 1200)]
        region_L_N = [torch.rand(len(i), generator=random) < share * i.log().add(1).clamp(0, 2) for i in impact_L_N]
        found = control("impact", region_L_N, impact_L_N, seed)
        assert found.shortfall == 0
        worst.append(worst_difference(found.where_L_N, region_L_N, impact_L_N))
    assert max(worst) < 0.1


def test_the_worst_layer_counts_and_layers_of_few_neurons_do_not() -> None:
    impact_N = torch.arange(1.0, 101.0)
    region_N, other_N = torch.arange(100) >= 60, torch.arange(100) < 40
    few_N = torch.arange(100) < 19
    assert worst_difference([other_N], [region_N], [impact_N]) == pytest.approx(-mean_difference(other_N, region_N, impact_N))
    assert worst_difference([other_N, region_N], [few_N, region_N], [impact_N, impact_N]) == 0


# Impact -----------------------------------------------------------------------------------------------------------------


def test_the_impact_of_a_neuron_is_its_mean_magnitude_over_tokens_times_its_norm() -> None:
    random = torch.Generator().manual_seed(0)
    tokens = [3, 1, 5]
    magnitude_L_SN = [torch.rand(3, width, generator=random) for width in (4, 6)]
    norm_L_N = [torch.rand(width, generator=random) for width in (4, 6)]
    activations = Activations(magnitude_L_SN, ["en", "en", "fr"], ["a", "b", "a"], torch.tensor(tokens), 1, "magnitude")
    for found_N, magnitude_SN, norm_N in zip(impact(activations, norm_L_N), magnitude_L_SN, norm_L_N, strict=True):
        every_token_TN = torch.cat(
            [magnitude_N.repeat(count, 1) for magnitude_N, count in zip(magnitude_SN, tokens, strict=True)]
        )
        torch.testing.assert_close(found_N, every_token_TN.mean(dim=0) * norm_N)
    with pytest.raises(ValueError, match="the pool magnitude, not on mean"):
        impact(Activations(magnitude_L_SN, ["en"] * 3, ["a", "b", "c"], torch.tensor(tokens), 1), norm_L_N)


class Packed(nn.Module):
    """A matrix with a bias whose weights are kept in eight bits, as packages that quantize do."""

    def __init__(self, weight_DN: Tensor) -> None:
        super().__init__()
        self.in_features = weight_DN.shape[1]
        self.scale = nn.Parameter(weight_DN.abs().amax(dim=1) / 127)
        self.register_buffer("weight", (weight_DN / self.scale[:, None]).round().to(torch.int8))

    def forward(self, h_N: Tensor) -> Tensor:
        return h_N @ (self.weight * self.scale[:, None]).T + 3.0


class Unreadable(nn.Module):
    """A matrix that only a GPU can multiply with."""

    in_features = 4

    def forward(self, _: Tensor) -> Tensor:
        raise RuntimeError("no kernel for this device")


def test_norms_are_those_of_the_columns_however_a_matrix_keeps_them() -> None:
    linear, conv = nn.Linear(1500, 8, dtype=torch.bfloat16), Conv1D(8, 5)
    torch.testing.assert_close(DenseSite(linear).column_norms(), linear.weight.float().norm(dim=0))
    torch.testing.assert_close(DenseSite(conv).column_norms(), conv.weight.float().norm(dim=1))
    exact = torch.randn(8, 1500, generator=torch.Generator().manual_seed(0))
    packed = Packed(exact)
    torch.testing.assert_close(
        DenseSite(packed).column_norms(), (packed.weight * packed.scale[:, None]).norm(dim=0), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(DenseSite(packed).column_norms(), exact.norm(dim=0), rtol=0.05, atol=0.05)


def test_a_matrix_that_cannot_be_asked_is_said_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"(?s)control.match=impact: .*no kernel for this device.*use control.match=layer"):
        DenseSite(Unreadable()).column_norms()
