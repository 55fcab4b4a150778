"""The neurons of routed experts: gate weight times what an expert's second matrix receives, 0 at tokens routed elsewhere.

So a neuron at 0 adds nothing to the residual stream, as in an ordinary MLP: of an expert with weight w the layer adds
w W h = W (w h), and w h are its neurons.

Shapes are written as suffixes: B sequences, T tokens, X tokens of all sequences, C experts that a token is routed to, E
experts, F neurons of one expert, N = E * F, D width of the residual stream, R routes: a token and one of its experts each, in
the order of the experts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from lf_experiments.neurons.pooling import AVERAGED, GATE_POOLS, ROUTING, is_active
from lf_experiments.neurons.sites import Bank, Change, Experts, Keep, Marks, refuse_other_rows

IMPLEMENTATION = "lf_experiments"
"""The name in transformers of the way experts are computed here."""
TAPS = "neuron_taps"
"""The attribute of an experts module with what sees its neurons."""


@dataclass(frozen=True)
class RoutedNeurons:
    """The neurons of all experts of a layer in one forward pass."""

    h_RF: Tensor
    """Those of the expert of each route."""
    expert_R: Tensor
    token_R: Tensor
    """The route's token, as its place among the tokens of all sequences."""
    gate_RF: Tensor
    """What opens the neurons where it is above 0; of experts without gates the neurons."""
    tokens: int
    """Tokens of all sequences, X."""
    elsewhere_BEF: Tensor | None = None
    """What neurons are at tokens that are not routed to their expert, (1, E, F) where that is so in all sequences: 0 where this
    is None."""

    def pooled(self, pool: str, mask_BT: Tensor, experts: Experts) -> Tensor:
        """What a pool makes of the tokens of each sentence, (B, N) in float32; of `ROUTING` (B, E)."""
        if pool == ROUTING:
            return self.routing(mask_BT, experts)
        weight_BT = mask_BT / mask_BT.sum(dim=1, keepdim=True)
        if pool in GATE_POOLS:
            return self.total(is_active(self.gate_RF), weight_BT, experts)
        averaged = AVERAGED[pool]
        mean_BN = self.total(averaged(self.h_RF), weight_BT, experts)
        if self.elsewhere_BEF is None:
            return mean_BN
        not_routed_BE = 1 - self.routing(mask_BT, experts)
        return mean_BN + (not_routed_BE[..., None] * averaged(self.elsewhere_BEF).float()).flatten(1)

    def routing(self, mask_BT: Tensor, experts: Experts) -> Tensor:
        """The share of the tokens of each sentence that are routed to each expert, (B, E) in float32."""
        one_R1 = torch.ones(len(self.token_R), 1, device=self.token_R.device)
        return self.total(one_R1, mask_BT / mask_BT.sum(dim=1, keepdim=True), experts)

    def total(self, value_RF: Tensor, weight_BT: Tensor, experts: Experts) -> Tensor:
        """The sum over the tokens of each sentence, each as much as it weighs, for every expert: (B, E * F) in float32."""
        weight_R1 = weight_BT.to(value_RF.device).flatten()[self.token_R].float()[:, None]
        rows_R = self.token_R // weight_BT.shape[1] * experts.number + self.expert_R
        total_F = value_RF.new_zeros(len(weight_BT) * experts.number, value_RF.shape[1], dtype=torch.float32)
        return total_F.index_add_(0, rows_R, value_RF.float() * weight_R1).view(len(weight_BT), -1)

    def changed(self, change: Change, marks: Marks) -> RoutedNeurons:
        """The neurons after a change, at every token: also where they were 0 because it was routed elsewhere."""
        refuse_other_rows(len(marks.of_B), self.tokens)
        where_BN, value_BN = marks.by_row()
        before_BEF = where_BN.new_zeros((), dtype=self.h_RF.dtype) if self.elsewhere_BEF is None else self.elsewhere_BEF
        before_BEF, where_BEF = torch.broadcast_tensors(before_BEF, self.by_expert(where_BN))
        value_BEF = None if value_BN is None else self.by_expert(value_BN).expand_as(where_BEF)
        at_R = self.token_R // (self.tokens // len(marks.of_B)), self.expert_R
        elsewhere_BEF = change(before_BEF, where_BEF, value_BEF)
        return replace(
            self,
            h_RF=change(self.h_RF, where_BEF[at_R], None if value_BEF is None else value_BEF[at_R]),
            elsewhere_BEF=elsewhere_BEF if elsewhere_BEF.any() else None,
        )

    def by_expert(self, of_neurons_BN: Tensor) -> Tensor:
        """What there is of every neuron, expert by expert: (B, E, F)."""
        return of_neurons_BN.unflatten(1, (-1, self.h_RF.shape[1]))


SeeRouted = Callable[[RoutedNeurons], RoutedNeurons | None]


@dataclass(frozen=True)
class ExpertsSite:
    """The neurons of the routed experts of a layer. They are computed by `forward_experts`, as `show_experts` arranges."""

    module: nn.Module
    """As transformers has them: the weights of all experts in one tensor for each matrix."""

    @property
    def experts(self) -> Experts:
        """How many there are, and their width."""
        module: Any = self.module
        number, *sides = module.down_proj.shape
        return Experts(number, sides[0 if module.is_transposed else 1])

    @property
    def width(self) -> int:
        """Neurons of all experts, N."""
        return self.experts.number * self.experts.width

    @property
    def banks(self) -> list[Bank]:
        """As `Site.banks`: itself."""
        return [self]

    def tap(self, see: SeeRouted) -> RemovableHandle:
        """Call `see` with the neurons in every forward pass until the handle is removed; what it returns takes their place."""
        taps = vars(self.module).setdefault(TAPS, OrderedDict())
        handle = RemovableHandle(taps)
        taps[handle.id] = see
        return handle

    def column_norms(self) -> Tensor:
        """As `Bank.column_norms`; experts are read from their weights."""
        module: Any = self.module
        return module.down_proj.detach().float().norm(dim=2 if module.is_transposed else 1).flatten().cpu()

    def columns(self, neuron_K: Tensor) -> Tensor:
        """As `Bank.columns`; experts are read from their weights."""
        module: Any = self.module
        neuron_K = neuron_K.to(module.down_proj.device)
        expert_K, place_K = neuron_K // self.experts.width, neuron_K % self.experts.width
        weight_EFD = module.down_proj.detach() if module.is_transposed else module.down_proj.detach().transpose(1, 2)
        return weight_EFD[expert_K, place_K].float().cpu()

    def record(self, pools: Sequence[str], mask_BT: Tensor, keep: Keep) -> list[RemovableHandle]:
        """As `Bank.record`; `ROUTING` is (B, E)."""

        def see(neurons: RoutedNeurons) -> None:
            mask_here_BT = mask_BT.to(neurons.h_RF.device)
            keep({pool: neurons.pooled(pool, mask_here_BT, self.experts) for pool in pools})

        return [self.tap(see)]

    def attribute(self, mask_BT: Tensor, keep: Callable[[Tensor], None]) -> RemovableHandle:
        """As `Bank.attribute`."""

        def see(neurons: RoutedNeurons) -> None:
            def with_gradient(gradient_RF: Tensor) -> None:
                product_RF = -neurons.h_RF.detach().float() * gradient_RF.float()
                keep(neurons.total(product_RF, mask_BT, self.experts))

            neurons.h_RF.register_hook(with_gradient)

        return self.tap(see)

    def change(self, change: Change, marks: Marks) -> RemovableHandle:
        """As `Bank.change`."""

        def see(neurons: RoutedNeurons) -> RoutedNeurons:
            nonlocal marks
            marks = marks.beside(neurons.h_RF)
            return neurons.changed(change, marks)

        return self.tap(see)


def show_experts(model: PreTrainedModel) -> None:
    """Have the experts of a model computed by `forward_experts` from now on, so that their neurons can be seen."""
    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, forward_experts)
    model.set_experts_implementation(IMPLEMENTATION)


def forward_experts(module: Any, x_XD: Tensor, expert_XC: Tensor, weight_XC: Tensor) -> Tensor:
    """What the routed experts of a layer add to the residual stream at every token, (X, D), as transformers computes it.

    `weight_XC` is how much each of the experts that a token is routed to counts.
    """
    chosen = expert_XC.shape[1]
    expert_R, route_R = expert_XC.flatten().sort(stable=True)
    weight_R1 = weight_XC.flatten()[route_R, None]
    rows_E = torch.bincount(expert_R, minlength=module.num_experts)
    h_RF, gate_RF = first_matrices(module, x_XD[route_R // chosen], expert_R, rows_E)
    neurons = RoutedNeurons((h_RF * weight_R1).to(h_RF.dtype), expert_R, route_R // chosen, gate_RF, len(x_XD))
    for see in list(vars(module).get(TAPS, {}).values()):
        neurons = see(neurons) or neurons
    y_RD = by_expert(neurons.h_RF, module.down_proj, rows_E, module.is_transposed)
    if module.has_bias:
        y_RD = y_RD + module.down_proj_bias[expert_R] * weight_R1
    y_XD = y_RD[route_R.argsort()].view(*expert_XC.shape, -1).sum(dim=1)
    if neurons.elsewhere_BEF is not None:
        added_BED = by_each_expert(neurons.elsewhere_BEF, module)
        row_X = torch.arange(len(x_XD), device=x_XD.device) // (len(x_XD) // len(added_BED))
        y_XD = y_XD + added_BED.sum(dim=1)[row_X] - added_BED[row_X[:, None], expert_XC].sum(dim=1)
    return y_XD.to(x_XD.dtype)


def first_matrices(module: Any, x_RD: Tensor, expert_R: Tensor, rows_E: Tensor) -> tuple[Tensor, Tensor]:
    """What the second matrix of the expert of each route would receive, before it is weighted, and its gates, (R, F) each."""
    name = "gate_up_proj" if module.has_gate else "up_proj"
    first_R = by_expert(x_RD, getattr(module, name), rows_E, module.is_transposed)
    if module.has_bias:
        first_R = first_R + getattr(module, f"{name}_bias")[expert_R]
    if not module.has_gate:
        return module.act_fn(first_R), first_R
    gate_RF = first_R.chunk(2, dim=-1)[0] if module.is_concatenated else first_R[..., ::2]
    return module._apply_gate(first_R), gate_RF


def by_expert(x_R: Tensor, weight_E: Tensor, rows_E: Tensor, is_transposed: bool) -> Tensor:
    """Each row times the matrix of its expert, each of which has so many rows."""
    weight_E = weight_E if is_transposed else weight_E.transpose(1, 2)
    if has_grouped_product(weight_E):  # the loop would wait for the GPU
        return functional.grouped_mm(x_R.to(weight_E.dtype), weight_E, offs=rows_E.cumsum(0).to(torch.int32))
    parts = x_R.split(rows_E.tolist())
    return torch.cat([part @ weight_E[expert] for expert, part in enumerate(parts) if len(part)])


def has_grouped_product(weight_E: Tensor) -> bool:
    """Whether each row can be multiplied by the matrix of its expert in one go.

    GPUs from compute capability 8.0 do it, where the rows of the matrices begin at multiples of 16 bytes.
    """
    if not weight_E.is_cuda or not hasattr(functional, "grouped_mm"):
        return False
    are_aligned = all(side * weight_E.element_size() % 16 == 0 for side in weight_E.shape[1:])
    return are_aligned and torch.cuda.get_device_capability(weight_E.device) >= (8, 0)


def by_each_expert(h_BEF: Tensor, module: Any) -> Tensor:
    """The neurons of each expert times its second matrix, (B, E, D)."""
    return torch.einsum("bef,efd->bed" if module.is_transposed else "bef,edf->bed", h_BEF, module.down_proj)
