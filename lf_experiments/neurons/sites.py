"""Sites: the places in a model where the neurons of a layer are seen and changed.

Shapes are written as suffixes: B sequences, T tokens, N neurons of a layer, K some of them, D width of the residual stream.
Some models hand on (B * T, N) for (B, T, N).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from lf_experiments.errors import InputError
from lf_experiments.neurons.pooling import ALL_POOLS, GATE_POOLS, ROUTING

PROBED_AT_ONCE = 1024
"""Neurons that a matrix whose weights cannot be read is asked about at once."""

See = Callable[[Tensor], Tensor | None]
"""Is given the neurons of a layer at every token, (B, T, N), in each forward pass; what it returns takes their place."""


Change = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(neurons (..., N), where bool, value or None) -> neurons, one by one. `where` and `value` are of the shape of the neurons;
only neurons at `where` may change."""

Keep = Callable[[dict[str, Tensor]], None]
"""Is given what pools make of the neurons of a batch, (B, N) in float32."""


class Marks(NamedTuple):
    """Which neurons are changed, and to what: of every sequence of a batch those of one of I interventions."""

    where_IN: Tensor
    """Bool."""
    value_IN: Tensor | None
    of_B: Tensor
    """The intervention of each sequence; a single number is that of all, however many there are."""

    def beside(self, h: Tensor) -> Marks:
        """The same where some neurons are, the values in their number format. Nothing waits for the device."""
        value_IN = None if self.value_IN is None else self.value_IN.to(h.device, h.dtype, non_blocking=True)
        where_IN, of_B = (marks.to(h.device, non_blocking=True) for marks in (self.where_IN, self.of_B))
        return Marks(where_IN, value_IN, of_B)

    def by_row(self) -> tuple[Tensor, Tensor | None]:
        """Where and value for every sequence, (B, N), or for all of them, (1, N)."""
        return self.where_IN[self.of_B], None if self.value_IN is None else self.value_IN[self.of_B]

    def split(self, widths: list[int]) -> list[Marks]:
        """Those of neighbouring neurons, so many each."""
        values = [None] * len(widths) if self.value_IN is None else self.value_IN.split(widths, dim=1)
        return [Marks(*both, self.of_B) for both in zip(self.where_IN.split(widths, dim=1), values, strict=True)]


class Experts(NamedTuple):
    """The routed experts of a layer; their neurons are its first `number * width`, expert by expert."""

    number: int
    width: int
    """Neurons of one expert."""


NO_EXPERTS = Experts(0, 0)


class Bank(Protocol):
    """Neurons that one module of a layer receives or computes."""

    @property
    def module(self) -> nn.Module:
        """The module."""

    @property
    def width(self) -> int:
        """How many neurons, N."""

    @property
    def experts(self) -> Experts:
        """The experts they are of; `NO_EXPERTS` for those of a matrix."""

    def column_norms(self) -> Tensor:
        """How much each neuron adds to the residual stream per unit of its activity: (N,) in float32 on the host.

        The norm of its column of the second MLP matrix. Raises `InputError` where the matrix cannot be asked.
        """

    def columns(self, neuron_K: Tensor) -> Tensor:
        """What these neurons, by their numbers, add to the residual stream at 1: (K, D) in float32 on the host.

        Raises `InputError` where the matrix cannot be asked.
        """

    def record(self, pools: Sequence[str], mask_BT: Tensor, keep: Keep) -> list[RemovableHandle]:
        """In every forward pass give `keep` what the pools make of the neurons at the tokens where the mask is 1."""

    def attribute(self, mask_BT: Tensor, keep: Callable[[Tensor], None]) -> RemovableHandle:
        """In every backward pass give `keep` minus the neurons times their gradients, summed over tokens: (B, N) in float32."""

    def change(self, change: Change, marks: Marks) -> RemovableHandle:
        """Change the neurons in every forward pass until the handle is removed; changes run in their order.

        A pass with another number of sequences than there are marks for raises `ValueError`.
        """


def pooled_width(bank: Bank, pool: str) -> int:
    """How many numbers a pool keeps of a bank: one per neuron, of `ROUTING` one per expert."""
    return bank.experts.number if pool == ROUTING else bank.width


class Site(Protocol):
    """The neurons of one layer."""

    @property
    def width(self) -> int:
        """How many neurons the layer has, N."""

    @property
    def banks(self) -> list[Bank]:
        """Where they are, in their order."""

    def column_norms(self) -> Tensor:
        """As `Bank.column_norms`, of all of them."""

    def columns(self, neuron_K: Tensor) -> Tensor:
        """As `Bank.columns`, of any of them."""


@dataclass(frozen=True)
class DenseSite:
    """The neurons of an ordinary MLP: the input of its second matrix. It is its own bank."""

    matrix: nn.Module
    activation: nn.Module | None = None
    """In a gated MLP, what makes its gates: act(gate), by which what it is given otherwise is multiplied."""

    @property
    def width(self) -> int:
        """The width of what the matrix receives; GPT-2's `Conv1D` keeps its weight transposed."""
        matrix: Any = self.matrix
        return int(matrix.in_features if hasattr(matrix, "in_features") else matrix.weight.shape[0])

    @property
    def module(self) -> nn.Module:
        """As `Bank.module`."""
        return self.matrix

    @property
    def banks(self) -> list[Bank]:
        """As `Site.banks`: itself."""
        return [self]

    @property
    def experts(self) -> Experts:
        """As `Bank.experts`."""
        return NO_EXPERTS

    def column_norms(self) -> Tensor:
        """As `Bank.column_norms`: from the weights where they are numbers, else from what the matrix makes of each neuron."""
        weight: Any = getattr(self.matrix, "weight", None)
        if isinstance(self.matrix, (nn.Linear, Conv1D)) and is_readable(weight, self.width):
            return weight.detach().float().norm(dim=1 if isinstance(self.matrix, Conv1D) else 0).cpu()
        parts = torch.arange(self.width).split(PROBED_AT_ONCE)
        return torch.cat([self.probed_columns(neuron_K).norm(dim=1) for neuron_K in parts])

    def columns(self, neuron_K: Tensor) -> Tensor:
        """As `Bank.columns`; read or asked as for `column_norms`."""
        weight: Any = getattr(self.matrix, "weight", None)
        if isinstance(self.matrix, (nn.Linear, Conv1D)) and is_readable(weight, self.width):
            weight_ND = weight.detach() if isinstance(self.matrix, Conv1D) else weight.detach().T
            return weight_ND[neuron_K.to(weight.device)].float().cpu()
        return self.probed_columns(neuron_K)

    def probed_columns(self, neuron_K: Tensor) -> Tensor:
        """`columns` from what the matrix makes of each neuron alone."""
        try:
            column_KD = probed_columns(self.matrix, self.width, neuron_K)
        except (RuntimeError, TypeError, ValueError, NotImplementedError, AssertionError) as error:
            raise unknown_columns(f"{type(error).__name__}: {error}") from error
        if not column_KD.isfinite().all():
            raise unknown_columns("it gives NaN or infinite values")
        return column_KD

    def tap(self, see: See) -> RemovableHandle:
        """Call `see` with the neurons in every forward pass, before the matrix has them, until the handle is removed."""

        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            changed = see(inputs[0])
            return None if changed is None else (changed, *inputs[1:])

        return self.matrix.register_forward_pre_hook(hook)

    def tap_gates(self, see: See) -> RemovableHandle:
        """Call `see` with the gates of the neurons, (B, T, N), where the MLP has such; else with the neurons."""
        if self.activation is None:
            return self.tap(see)
        return self.activation.register_forward_hook(lambda _module, _inputs, gates: see(gates))

    def record(self, pools: Sequence[str], mask_BT: Tensor, keep: Keep) -> list[RemovableHandle]:
        """As `Bank.record`. No neuron of it is routed: `ROUTING` is (B, 0)."""

        def see(pools_there: list[str], h_N: Tensor) -> None:
            h_BTN = h_N.reshape(*mask_BT.shape, -1)  # OPT's matrices receive (B * T, N)
            mask_here_BT = mask_BT.to(h_BTN.device)
            empty_BN = h_BTN.new_empty(len(h_BTN), 0).float()
            keep({pool: empty_BN if pool == ROUTING else ALL_POOLS[pool](h_BTN, mask_here_BT) for pool in pools_there})

        at_gates = [pool for pool in pools if pool in GATE_POOLS]
        at_neurons = [pool for pool in pools if pool not in GATE_POOLS]
        taps = ((self.tap, at_neurons), (self.tap_gates, at_gates))
        return [tap(partial(see, pools_there)) for tap, pools_there in taps if pools_there]

    def attribute(self, mask_BT: Tensor, keep: Callable[[Tensor], None]) -> RemovableHandle:
        """As `Bank.attribute`."""

        def with_gradient(h_N: Tensor, gradient_N: Tensor) -> None:
            product_BTN = (h_N.float() * gradient_N.float()).reshape(*mask_BT.shape, -1)
            keep(-(product_BTN * mask_BT.to(product_BTN.device)[..., None]).sum(dim=1))

        def see(h_N: Tensor) -> None:
            h_N.register_hook(partial(with_gradient, h_N.detach()))

        return self.tap(see)

    def change(self, change: Change, marks: Marks) -> RemovableHandle:
        """As `Bank.change`. The marks follow the neurons to their device and number format."""

        def see(h_N: Tensor) -> Tensor:
            nonlocal marks
            marks = marks.beside(h_N)
            rows = len(marks.of_B)
            refuse_other_rows(rows, len(h_N), exact=h_N.ndim > 2)
            h_BTN = h_N.reshape(rows, -1, h_N.shape[-1])  # OPT's matrices receive (B * T, N); for all rows alike there is one
            where_BN, value_BN = marks.by_row()
            where_BTN = where_BN[:, None].expand_as(h_BTN)
            return change(h_BTN, where_BTN, None if value_BN is None else value_BN[:, None].expand_as(h_BTN)).view_as(h_N)

        return self.tap(see)


@dataclass(frozen=True)
class JointSite:
    """The neurons of a layer with several banks: those of routed experts, then those of the experts that all tokens share."""

    banks: list[Bank]

    @property
    def width(self) -> int:
        """As `Site.width`."""
        return sum(bank.width for bank in self.banks)

    def column_norms(self) -> Tensor:
        """As `Site.column_norms`."""
        return torch.cat([bank.column_norms() for bank in self.banks])

    def columns(self, neuron_K: Tensor) -> Tensor:
        """As `Site.columns`."""
        parts, first = [], 0
        for bank in self.banks:
            is_here_K = (neuron_K >= first) & (neuron_K < first + bank.width)
            parts.append((is_here_K, bank.columns(neuron_K[is_here_K] - first)))
            first += bank.width
        column_KD = torch.empty(len(neuron_K), parts[0][1].shape[1])
        for is_here_K, of_bank_KD in parts:
            column_KD[is_here_K] = of_bank_KD
        return column_KD


def refuse_other_rows(rows: int, there: int, exact: bool = False) -> None:
    """Raise `ValueError` for a pass of `there` sequences, or tokens of sequences, under the interventions of so many rows."""
    if rows > 1 and (there != rows if exact else there % rows):
        raise ValueError(f"every row has an intervention of its own: a batch must have {rows} rows, and this one has {there}")


def is_readable(weight: object, width: int) -> bool:
    """Whether a weight is a matrix of ordinary numbers that is in memory: not packed into fewer bits, and not offloaded."""
    return (
        isinstance(weight, Tensor)
        and weight.ndim == 2
        and width in weight.shape
        and weight.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and not weight.is_meta
    )


@torch.no_grad()
def probed_columns(matrix: nn.Module, width: int, neuron_K: Tensor) -> Tensor:
    """What a matrix, quantized or offloaded, adds for each of some neurons alone at 1, (K, D) in float32 on the host."""
    place = next((tensor for tensor in (*matrix.parameters(), *matrix.buffers()) if not tensor.is_meta), torch.empty(0))
    dtype = getattr(matrix, "compute_dtype", None) or (place.dtype if place.is_floating_point() else torch.float32)
    nothing_D = matrix(torch.zeros(1, width, dtype=dtype, device=place.device))[0].float()
    alone_KN = torch.zeros(len(neuron_K), width, dtype=dtype, device=place.device)
    alone_KN[torch.arange(len(neuron_K)), neuron_K] = 1
    return (matrix(alone_KN).float() - nothing_D).cpu()


def unknown_columns(problem: str) -> InputError:
    """The error of a second MLP matrix that does not show how strongly its neurons act."""
    return InputError(
        "control.match",
        "impact",
        "how strongly the neurons of this model act cannot be measured: its second MLP matrix is quantized or offloaded "
        f"({problem})",
        "use control.match=layer, or weights that are not quantized",
    )
