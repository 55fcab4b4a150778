"""Recording the neurons: eq. (5) for every sentence, in batches, with padding left out.

Shapes are written as suffixes: S sentences, B sentences of a batch, T tokens, L layers, N neurons of a layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lf_experiments.config import InputError
from lf_experiments.measures.equations import mean_activation
from lf_experiments.models.batches import each_group, padded, rows_by_budget
from lf_experiments.models.load import Reader, Results, input_device

log = logging.getLogger(__name__)

BATCH_BYTES = 1 << 29
"""What the activations of a batch may take: 512 MiB. A sentence of llama2-70b has 9 MB of them, whatever its length."""


def capture(reader: Reader, texts: list[str], batch_tokens: int) -> Tensor:
    """The mean activation of every neuron on every text, eq. (5): (L, S, N) in float32 on the host.

    The rows are in the order of `texts`, whatever the batches. Beside the result no more than a batch is held here, and in each
    follower of a team its share. Raises `InputError` for a text without tokens and for activations that are not finite.
    """
    sequences = reader.token_ids(texts)
    refuse_empty(sequences, texts)
    warn_of_long(sequences, reader)
    h_LSN = torch.empty(len(reader.sites), len(texts), reader.num_neurons_per_layer)
    with tqdm(total=len(texts), desc="capture", unit="sentence", mininterval=1.0) as progress:
        for row, h_LN in reader.share(activations, list(zip(texts, sequences, strict=True)), batch_tokens):
            h_LSN[:, row] = h_LN
            progress.update()
    return h_LSN


@torch.no_grad()
def activations(reader: Reader, sentences: list[tuple[str, list[int]]], batch_tokens: int) -> Results:
    """Yields the position of each sentence and its mean activations, (L, N) in float32 on the host; reads in batches.

    A sentence is its text and its token ids.
    """
    texts = [text for text, _ in sentences]
    sequences = [sequence for _, sequence in sentences]
    groups = sentence_batches([len(sequence) for sequence in sequences], batch_tokens, reader.num_neurons)

    def read(rows: list[int]) -> Tensor:
        h_LBN = batch_activation(reader, *padded([sequences[row] for row in rows], input_device(reader.model)))
        if len(rows) > 1 and not h_LBN.isfinite().all():  # perhaps at the padding alone
            return torch.cat([read([row]) for row in rows], dim=1)
        return h_LBN

    for rows, h_LBN in each_group(groups, read):
        refuse_infinite(h_LBN, [texts[row] for row in rows])
        for row, h_LN in zip(rows, h_LBN.unbind(dim=1), strict=True):
            yield row, h_LN.clone()  # a row alone: what is sent takes no batch along


def sentence_batches(lengths: list[int], batch_tokens: int, num_neurons: int) -> list[list[int]]:
    """The positions of sentences of so many tokens in batches, as a model with so many neurons reads them."""
    return rows_by_budget(lengths, batch_tokens, sentences_at_once(num_neurons))


def sentences_at_once(num_neurons: int) -> int:
    """Sentences whose activations take no more than `BATCH_BYTES` together."""
    return max(1, BATCH_BYTES // (4 * num_neurons))


def batch_activation(reader: Reader, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Eq. (5) for one padded batch: (L, B, N) in float32 on the host, by one forward pass without the language-model head."""
    with recorded(reader.sites, mask_BT) as h:
        reader.model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
    silent = [layer for layer, h_BN in enumerate(h) if h_BN is None]
    if silent:
        raise RuntimeError(f"layers {silent} were never called: the neurons recorded there would not be the model's")
    return torch.stack([h_BN.to(h[-1].device) for h_BN in h]).cpu()


@contextmanager
def recorded(sites: list[nn.Module], mask_BT: Tensor) -> Iterator[list[Tensor | None]]:
    """Inside the block every forward pass fills the list yielded: at each layer the mean activation, (B, N) in float32.

    The neurons are averaged where they are computed, so that a sharded model moves only the averages.
    """
    h: list[Tensor | None] = [None] * len(sites)

    def hook(layer: int, inputs: tuple[Tensor, ...]) -> None:
        h_BTN = inputs[0].reshape(*mask_BT.shape, -1)  # OPT's sites receive (B * T, N)
        h[layer] = mean_activation(h_BTN, mask_BT.to(h_BTN.device))

    handles = [
        site.register_forward_pre_hook(lambda _, inputs, layer=layer: hook(layer, inputs)) for layer, site in enumerate(sites)
    ]
    try:
        yield h
    finally:
        for handle in handles:
            handle.remove()


def refuse_empty(sequences: list[list[int]], texts: list[str]) -> None:
    for sequence, text in zip(sequences, texts, strict=True):
        if not sequence:
            raise InputError(
                "dataset", repr(text), "this sentence has no tokens", "take it out of the corpus, or change the tokenizer"
            )


def warn_of_long(sequences: list[list[int]], reader: Reader) -> None:
    """Say how many sentences the model was not trained to read whole. Raises `InputError` where it cannot."""
    long = sum(reader.context is not None and len(sequence) > reader.context for sequence in sequences)
    if long and not reader.reads_beyond_context:
        raise InputError(
            "dataset",
            f"({long} of {len(sequences)} sentences)",
            f"they are longer than the {reader.context} tokens that this model can read at once",
            "choose shorter sentences, or another model",
        )
    if long:
        log.warning(
            "%d of %d sentences are longer than the %d tokens the model reads at once", long, len(sequences), reader.context
        )


def refuse_infinite(h_LBN: Tensor, texts: list[str]) -> None:
    finite_LB = h_LBN.isfinite().all(dim=2)
    if finite_LB.all():
        return
    layer, row = (~finite_LB).nonzero()[0].tolist()
    raise InputError(
        "model.dtype",
        "(as loaded)",
        f"layer {layer} gives NaN or infinite activations on the sentence {texts[row]!r}",
        "use model.dtype=float32 or bfloat16; if it is that already, the weights are damaged",
    )
