"""One forward pass: the neurons of every layer, pooled over the tokens of each sentence where they are computed.

Shapes are written as suffixes: B sentences, T tokens, N neurons of a bank, K neurons of all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate

from torch import Tensor

from lf_experiments.models.load import Reader
from lf_experiments.neurons.sites import Site, pooled_width

Pooled = dict[str, Tensor]
"""What each pool makes of some neurons, (B, N) in float32."""


def pooled_batch(reader: Reader, ids_BT: Tensor, mask_BT: Tensor, pools: Sequence[str] = ("mean",)) -> Pooled:
    """What each pool keeps of one padded batch, all layers side by side: (B, K) in float32.

    One forward pass without the language-model head. The pools are over the tokens of each sentence: the attention mask is 1
    at its prefix too, the mask of the pools is not. Raises `RuntimeError` for a layer that it does not pass.
    """
    with pooled(reader.sites, without_prefix(mask_BT, len(reader.prefix)), pools) as found:
        reader.model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
    if silent := found.silent_layers:
        raise RuntimeError(f"layers {silent} were never called: the neurons recorded there would not be the model's")
    return found.h_BK


def without_prefix(mask_BT: Tensor, prefix: int) -> Tensor:
    """The mask of the tokens of each sentence, without the `prefix` first ones. Padding is on the right."""
    text_BT = mask_BT.clone()
    text_BT[:, :prefix] = 0
    return text_BT


class PooledRows:
    """What each pool keeps of a batch, written layer by layer as the model computes it: nothing wide is held twice."""

    def __init__(self, sites: list[Site], pools: Sequence[str]) -> None:
        self.h_BK: Pooled = {}
        """All layers side by side, where the first that is computed is. What no pass reaches is not set."""
        self.layers = [layer for layer, site in enumerate(sites) for _ in site.banks]
        self.parts = {pool: parts_of([pooled_width(bank, pool) for site in sites for bank in site.banks]) for pool in pools}
        self.missing = {(number, pool) for number in range(len(self.layers)) for pool in pools}

    def write(self, number: int, of_bank: Pooled) -> None:
        """Keep what the pools make of a bank; the banks of all layers are counted through."""
        for pool, h_BN in of_bank.items():
            parts = self.parts[pool]
            if pool not in self.h_BK:
                self.h_BK[pool] = h_BN.new_empty(len(h_BN), parts[-1].stop)
            self.h_BK[pool][:, parts[number]] = h_BN
            self.missing.discard((number, pool))

    @property
    def silent_layers(self) -> list[int]:
        """The layers of which something is missing."""
        return sorted({self.layers[number] for number, _ in self.missing})


def parts_of(widths: list[int]) -> list[slice]:
    """Where parts of so many numbers each lie side by side."""
    ends = list(accumulate(widths))
    return [slice(end - width, end) for width, end in zip(widths, ends, strict=True)]


@contextmanager
def pooled(sites: list[Site], mask_BT: Tensor, pools: Sequence[str]) -> Iterator[PooledRows]:
    """Inside the block every forward pass fills what is yielded with what the pools keep of every neuron.

    `mask_BT` is 1 at the tokens to pool. They are pooled where they are computed, so that a sharded model moves only the
    results.
    """
    rows = PooledRows(sites, pools)
    banks = [bank for site in sites for bank in site.banks]
    handles = [
        handle for number, bank in enumerate(banks) for handle in bank.record(pools, mask_BT, partial(rows.write, number))
    ]
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()
