"""The neurons of a layer that several processes share: each computes some of them, and all see all of them.

Shapes are written as suffixes: B sequences, T tokens, N neurons of a layer, K some of them, D width of the residual stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from lf_experiments.errors import InputError
from lf_experiments.models.shards import Shards
from lf_experiments.models.tensor_plans import REMEDY, style_of
from lf_experiments.neurons.pooling import ROUTING
from lf_experiments.neurons.sites import NO_EXPERTS, Bank, Change, DenseSite, Experts, Keep, Marks, Site

GIVES_PART = frozenset({"rowwise"})
"""The ways to share the second matrix of an MLP in which it is given this process's neurons alone."""

GIVES_ALL = frozenset({"", "rowwise_split_input", "rowwise_rep"})
"""Those in which it is given all neurons, and takes its own from them."""


@dataclass(frozen=True)
class ShardedSite:
    """The neurons of an ordinary MLP: the input of its second matrix. It is its own bank."""

    part: DenseSite
    """As this process has the matrix; it says how wide the whole is."""
    shards: Shards
    is_divided: bool
    """Whether this process has only a part of the matrix."""
    is_whole: bool
    """Whether the matrix is given all neurons here."""
    norm_N: Tensor
    """As `column_norms`, gathered while the model was loaded: later the other processes act only when they read."""

    @property
    def width(self) -> int:
        """As `Site.width`: the neurons of all processes."""
        return self.part.width

    @property
    def module(self) -> nn.Module:
        """As `Bank.module`."""
        return self.part.module

    @property
    def banks(self) -> list[Bank]:
        """As `Site.banks`: itself."""
        return [self]

    @property
    def experts(self) -> Experts:
        """As `Bank.experts`."""
        return NO_EXPERTS

    def column_norms(self) -> Tensor:
        """As `Bank.column_norms`."""
        return self.norm_N

    def columns(self, neuron_K: Tensor) -> Tensor:
        """As `Bank.columns`, for all processes at the same time."""
        weight_DN = own_weight(self.part)
        first = self.shards.part(self.width).start if self.is_divided else 0
        is_mine_K = (neuron_K >= first) & (neuron_K < first + weight_DN.shape[1])
        column_KD = weight_DN.new_zeros(len(neuron_K), len(weight_DN), dtype=torch.float32)
        column_KD[is_mine_K.to(weight_DN.device)] = weight_DN.T[(neuron_K[is_mine_K] - first).to(weight_DN.device)].float()
        return self.shards.summed(column_KD).cpu() if self.is_divided else column_KD.cpu()

    def record(self, pools: Sequence[str], mask_BT: Tensor, keep: Keep) -> list[RemovableHandle]:
        """As `Bank.record`: each process pools its own neurons, and gives the others the result."""

        def keep_all(of_part: dict[str, Tensor]) -> None:
            keep({pool: pooled_BN if pool == ROUTING else self.whole(pooled_BN) for pool, pooled_BN in of_part.items()})

        return self.part.record(pools, mask_BT, keep_all)

    def attribute(self, mask_BT: Tensor, keep: Callable[[Tensor], None]) -> RemovableHandle:
        """As `Bank.attribute`."""
        return self.part.attribute(mask_BT, lambda worth_BN: keep(self.whole(worth_BN)))

    def change(self, change: Change, marks: Marks) -> RemovableHandle:
        """As `Bank.change`: each process changes its own neurons."""
        mine = slice(None) if self.is_whole else self.shards.part(self.width)
        where_IN, value_IN, of_B = marks
        return self.part.change(change, Marks(where_IN[:, mine], None if value_IN is None else value_IN[:, mine], of_B))

    def whole(self, of_part_BN: Tensor) -> Tensor:
        """What all processes have found for their neurons."""
        return of_part_BN if self.is_whole else self.shards.gathered(of_part_BN, self.width)


def sharded_sites(model: PreTrainedModel, sites: list[Site], shards: Shards) -> list[Site]:
    """The sites of a model whose layers are shared, from those of an ordinary one.

    Raises `InputError` where the second matrices are shared in a way in which their neurons cannot be told.
    """
    names = {module: name for name, module in model.named_modules()}
    return [sharded_site(model, site, names, shards) for site in sites]


@torch.no_grad()
def sharded_site(model: PreTrainedModel, site: Site, names: dict[nn.Module, str], shards: Shards) -> Site:
    """The site of one layer, of a model whose modules have these names."""
    style = style_of(model, names[site.banks[0].module])
    if not isinstance(site, DenseSite) or style not in GIVES_PART | GIVES_ALL:
        problem = f"the second MLP matrix of {model.config.get_text_config().model_type} is shared as {style!r}"
        raise InputError("runtime.tensor_parallel", shards.count, f"{problem}, in which its neurons cannot be told", REMEDY)
    norm_N = own_weight(site).float().norm(dim=0)
    whole_norm_N = shards.gathered(norm_N, site.width) if style else norm_N
    return ShardedSite(site, shards, bool(style), style in GIVES_ALL, whole_norm_N.cpu())


def own_weight(site: DenseSite) -> Tensor:
    """What this process has of the second matrix, (D, N)."""
    weight: Any = site.matrix.weight
    return (weight.to_local() if isinstance(weight, DTensor) else weight).detach()
