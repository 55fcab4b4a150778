"""Attribution: what switching a neuron off would cost, to first order, from one backward pass over the same sentences.

To first order, a neuron set to 0 changes a loss by minus its value times the gradient of the loss there, summed over tokens
(Molchanov et al., 2017; attribution patching). The gradients reach the neurons alone: the parameters are frozen.

Shapes are written as suffixes: S sentences, B sentences of a batch, T tokens, N neurons of a layer, K of all layers.
`L_` marks a list over layers, which may differ in width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PreTrainedModel

from lf_experiments.errors import InputError
from lf_experiments.models.arrivals import Arriving, sent
from lf_experiments.models.batches import each_group, padded, rows_by_budget
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.activations import Rows
from lf_experiments.neurons.sites import Site

KEPT_BYTES = 1 << 31
"""What a forward pass may keep for the backward pass: 2 GiB, or one sentence where that takes more."""
NEURON_COPIES, RESIDUAL_COPIES, LOGIT_COPIES = 8, 16, 4
"""Tensors as wide as the neurons, the residual stream and the vocabulary that are kept for every token, in every layer."""


def write_attribution(reader: Reader, texts: list[str], batch_tokens: int, rows: Rows) -> None:
    """Write what every neuron is worth to the prediction of every text into `rows`.

    The first-order rise of the negative log-likelihood of the text where the neuron is 0 at every token, in nats per token of
    the text; tokens that begin every text are given, not predicted, and the neuron is 0 there too. Raises `InputError` for
    gradients that are not finite.
    """
    items = list(zip(reader.sequences(texts), map(len, reader.token_ids(texts)), strict=True))
    with tqdm(total=len(texts), desc="attribution", unit="sentence", mininterval=1.0) as progress:
        for row, worth_K in reader.share(read_attributions, items, batch_tokens):
            refuse_infinite_worth(worth_K, texts[row])
            rows.write([row], worth_K[None])
            progress.update()


def read_attributions(reader: Reader, items: list[tuple[list[int], int]], batch_tokens: int) -> Results:
    """Yields the position of each sentence and what its neurons are worth, (K,). A sentence is the ids given and its tokens."""
    sequences = [sequence for sequence, _ in items]
    groups = rows_by_budget([len(sequence) for sequence in sequences], min(batch_tokens, tokens_at_once(reader)))

    def launch(rows: list[int]) -> Arriving:
        batch = padded([sequences[row] for row in rows], input_device(reader.model))
        return sent(attributed_batch(reader, *batch))

    def per_token(rows: list[int], arriving: Arriving) -> Tensor:
        return arriving.tensor() / torch.tensor([[items[row][1]] for row in rows])

    with frozen(reader.model):
        for rows, worth_BK in each_group(groups, launch, per_token):
            yield from zip(rows, (worth_K.clone() for worth_K in worth_BK), strict=True)


def refuse_infinite_worth(worth_K: Tensor, text: str) -> None:
    """Raise `InputError` for gradients that are not finite."""
    if not worth_K.isfinite().all():
        raise InputError(
            "model.dtype",
            "(as loaded)",
            f"the gradients of the sentence {text!r} are NaN or infinite",
            "use model.dtype=float32 or bfloat16, or a probe that needs no gradients",
        )


def tokens_at_once(reader: Reader) -> int:
    """Tokens whose intermediate results, kept for the backward pass, take no more than `KEPT_BYTES`."""
    config = reader.model.config.get_text_config()
    of_layers = NEURON_COPIES * reader.num_neurons + RESIDUAL_COPIES * len(reader.sites) * config.hidden_size
    per_token = of_layers * reader.model.dtype.itemsize + LOGIT_COPIES * config.vocab_size * 4
    return max(1, KEPT_BYTES // per_token)


def attributed_batch(reader: Reader, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Minus the neurons times the gradients of the summed losses of a padded batch, summed over tokens: (B, K).

    Raises `RuntimeError` for a site that no gradient reaches.
    """
    with torch.enable_grad(), attributed(reader.sites, mask_BT) as worth:
        logits_BTV = reader.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
        summed_loss(logits_BTV, ids_BT, mask_BT, reader.given).backward()
    reached = [worth_BN for worth_BN in worth if worth_BN is not None]
    if len(reached) < len(worth):
        layers = [layer for layer, site in enumerate(reader.sites) for _ in site.banks]
        silent = sorted({layer for layer, worth_BN in zip(layers, worth, strict=True) if worth_BN is None})
        raise RuntimeError(f"no gradient reached the layers {silent}: what their neurons are worth is not known")
    return torch.cat([worth_BN.to(reached[-1].device) for worth_BN in reached], dim=1)


def summed_loss(logits_BTV: Tensor, ids_BT: Tensor, mask_BT: Tensor, given: int) -> Tensor:
    """The negative log-likelihood of all tokens after the `given` first ones of each row, in nats."""
    predicted_BT = mask_BT[:, given:].bool()
    logits_PV = logits_BTV[:, given - 1 : -1][predicted_BT.to(logits_BTV.device)]
    target_P = ids_BT[:, given:][predicted_BT].to(logits_PV.device)
    return cross_entropy(logits_PV.float(), target_P, reduction="sum")


@contextmanager
def attributed(sites: list[Site], mask_BT: Tensor) -> Iterator[list[Tensor | None]]:
    """Inside the block every backward pass fills the list yielded: bank by bank, minus neuron times gradient over tokens."""
    banks = [bank for site in sites for bank in site.banks]
    worth: list[Tensor | None] = [None] * len(banks)
    handles = [bank.attribute(mask_BT, partial(worth.__setitem__, number)) for number, bank in enumerate(banks)]
    try:
        yield worth
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block gradients go back to the embeddings of the tokens, and no parameter has one."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    handle = model.get_input_embeddings().register_forward_hook(lambda _module, _inputs, x_BTD: x_BTD.requires_grad_())
    try:
        yield
    finally:
        handle.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
