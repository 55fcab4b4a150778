"""The capture: what every neuron does on every sentence, in batches, with padding left out (sec. 3.1, eq. 5).

Shapes are written as suffixes: S sentences, B sentences of a batch, N neurons of a layer, K of all layers.
`L_` marks a list over layers, which may differ in width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.errors import InputError
from lf_experiments.models.arrivals import Arriving, sent
from lf_experiments.models.batches import each_group, padded, rows_by_budget, warn_of_long_sequences
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.activations import Activations, Kept, Rows, RowsInMemory
from lf_experiments.neurons.attribution import write_attribution
from lf_experiments.neurons.forward import Pooled, pooled_batch
from lf_experiments.neurons.pooling import ATTRIBUTION, IMPACT

NEEDED = {IMPACT: "magnitude"}
"""The pool of a forward pass that another is made of."""

NewRows = Callable[[Kept, int], Rows]
"""Makes the place where what is kept of so many sentences goes."""

log = logging.getLogger(__name__)

BATCH_BYTES = 1 << 28
"""What the activations of a batch may take: 256 MiB, and twice that while they are put together from those of the layers.

A sentence of llama2-70b has 9 MB of them, whatever its length.
"""
PART_BYTES = 1 << 25
"""What is handed on of a batch at once, from another process too: 32 MiB."""


def capture_sentences(
    reader: Reader,
    sentences: ParallelSentences,
    batch_tokens: int,
    pools: Sequence[str] = ("mean",),
    new_rows: NewRows = RowsInMemory,
) -> dict[str, Activations]:
    """The activations of parallel sentences, language by language, by pool; each sentence is read once, whatever the pools.

    They go where `new_rows` wants them, by default into memory. Raises as `capture`.
    """
    texts = [text for of_language in sentences.texts.values() for text in of_language]
    languages = [language for language, of_language in sentences.texts.items() for _ in of_language]
    meanings = sentences.meanings * len(sentences.texts)
    kept = {pool: kept_of(reader, pool) for pool in pools}
    rows = {pool: new_rows(of_pool, len(texts)) for pool, of_pool in kept.items()}
    write_pools(reader, texts, batch_tokens, rows)
    tokens_S = torch.tensor([len(ids) for ids in reader.token_ids(texts)])
    return {
        pool: Activations(rows[pool].layers(), languages, meanings, tokens_S, of_pool.num_parameters, pool, of_pool.experts)
        for pool, of_pool in kept.items()
    }


def capture(
    reader: Reader, texts: list[str], batch_tokens: int, pools: Sequence[str] = ("mean",)
) -> dict[str, Sequence[Tensor]]:
    """What every pool keeps of every neuron on every text, {pool: layer by layer (S, N)} in float32 on the host.

    One forward pass serves all pools of `ALL_POOLS`, `IMPACT`, and `ROUTING`, which keeps experts for neurons; `ATTRIBUTION`
    takes a pass of its own. The rows are in the order of `texts`, whatever the batches. Beside the result no more than a batch
    is held here, and in each process that reads along its share. Raises `InputError` for a text without tokens and for
    activations that are not finite.
    """
    rows = {pool: RowsInMemory(kept_of(reader, pool), len(texts)) for pool in pools}
    write_pools(reader, texts, batch_tokens, rows)
    return {pool: of_pool.layers() for pool, of_pool in rows.items()}


def kept_of(reader: Reader, pool: str) -> Kept:
    """What a pool keeps of the neurons of a model."""
    return Kept(pool, reader.pooled_widths(pool), reader.num_parameters, reader.experts)


def write_pools(reader: Reader, texts: list[str], batch_tokens: int, rows: Mapping[str, Rows]) -> None:
    """Write what each pool keeps of the texts into its rows. Raises as `capture`."""
    sequences = reader.sequences(texts)
    refuse_empty(sequences, texts, len(reader.prefix))
    passed = {pool: of_pool for pool, of_pool in rows.items() if pool != ATTRIBUTION}
    if passed:
        write_passed(reader, texts, sequences, batch_tokens, passed)
    if ATTRIBUTION in rows:
        write_attribution(reader, texts, batch_tokens, rows[ATTRIBUTION])


def write_passed(
    reader: Reader, texts: list[str], sequences: list[list[int]], batch_tokens: int, rows: Mapping[str, Rows]
) -> None:
    """The same of the pools that a forward pass gives, all in one pass."""
    warn_of_long(sequences, reader)
    lengths = [len(sequence) for sequence in sequences]
    warn_of_long_sequences("sentence", lengths, batch_tokens, lambda row: f"The sentence {texts[row][:60]!r}")
    factor = {IMPACT: column_norms(reader)} if IMPACT in rows else {}
    pools = tuple(dict.fromkeys(NEEDED.get(pool, pool) for pool in rows))
    sentences = [Sentence(row, *both) for row, both in enumerate(zip(texts, sequences, strict=True))]
    with tqdm(total=len(texts), desc="capture", unit="sentence", mininterval=1.0) as progress:
        for _, part in reader.share(read_sentences, sentences, batch_tokens, pools):
            for pool, of_pool in rows.items():
                h_BK = torch.from_numpy(part.pooled[NEEDED.get(pool, pool)])
                of_pool.write(part.rows, h_BK * factor[pool] if pool in factor else h_BK)
            progress.update(len(part.rows))
            del part, h_BK  # before the next batch is there


def column_norms(reader: Reader) -> Tensor:
    """The norm of the column of every neuron, (K,). Raises `InputError` for weights that cannot be read."""
    return torch.cat([site.column_norms().to(torch.float32).cpu() for site in reader.sites])


class Sentence(NamedTuple):
    """A sentence to read."""

    row: int
    """Its place among all that are read, in whatever process."""
    text: str
    ids: list[int]
    """What the model is given."""


class Part(NamedTuple):
    """What is kept of the neurons on some sentences of a batch."""

    rows: list[int]
    pooled: dict[str, np.ndarray]
    """Of each pool (B, K) in float32. Of an array what is sent to another process takes no more than its own numbers along."""


@torch.no_grad()
def read_sentences(reader: Reader, sentences: list[Sentence], batch_tokens: int, pools: tuple[str, ...]) -> Results:
    """Yields what is kept of the neurons on all sentences, `Part` by part, with the position of the first sentence of each.

    They are read in batches.
    """
    texts = [sentence.text for sentence in sentences]
    sequences = [sentence.ids for sentence in sentences]
    groups = sentence_batches([len(sequence) for sequence in sequences], batch_tokens, len(pools) * reader.num_neurons)

    def launch(rows: list[int]) -> dict[str, Arriving]:
        batch = padded([sequences[row] for row in rows], input_device(reader.model))
        return {pool: sent(h_BK) for pool, h_BK in pooled_batch(reader, *batch, pools).items()}

    def arrived(rows: list[int], arriving: dict[str, Arriving]) -> Pooled:
        pooled = {pool: h_BK.tensor() for pool, h_BK in arriving.items()}
        if len(rows) > 1 and not all(map(all_finite, pooled.values())):  # perhaps at the padding alone
            one_by_one = [arrived([row], launch([row])) for row in rows]
            return {pool: torch.cat([alone[pool] for alone in one_by_one]) for pool in pools}
        return pooled

    for rows, pooled in each_group(groups, launch, arrived):
        for pool, h_BK in pooled.items():
            refuse_infinite(h_BK, [texts[row] for row in rows], reader.pooled_widths(pool))
        for some in parts_of_batch(len(rows), len(pools) * reader.num_neurons):
            of_part = {pool: h_BK[some].numpy() for pool, h_BK in pooled.items()}
            yield rows[some][0], Part([sentences[row].row for row in rows[some]], of_part)
        del pooled, h_BK, of_part  # before the next batch is there


def sentence_batches(lengths: list[int], batch_tokens: int, values: int) -> list[list[int]]:
    """The positions of sentences of so many tokens in batches, where so many values are kept of each."""
    return rows_by_budget(lengths, batch_tokens, sentences_at_once(values))


def sentences_at_once(values: int) -> int:
    """Sentences that take no more than `BATCH_BYTES` together, where so many values are kept of each: pools times neurons."""
    return max(1, BATCH_BYTES // (4 * values))


def parts_of_batch(sentences: int, values: int) -> list[slice]:
    """The sentences of a batch in parts of about `PART_BYTES`, where so many values are kept of each."""
    each = max(1, PART_BYTES // (4 * values))
    return [slice(begin, begin + each) for begin in range(0, sentences, each)]


def all_finite(h: Tensor) -> bool:
    """Whether all numbers are finite. Nearly always their sum says so in a fraction of the time; it may be too large itself."""
    return bool(h.sum().isfinite()) or bool(h.isfinite().all())


def refuse_empty(sequences: list[list[int]], texts: list[str], prefix: int) -> None:
    """Raise `InputError` for a text without tokens beside the `prefix` that begin every text."""
    for sequence, text in zip(sequences, texts, strict=True):
        if len(sequence) == prefix:
            raise InputError(
                "dataset", repr(text), "this sentence has no tokens", "take it out of the corpus, or change the tokenizer"
            )


def warn_of_long(sequences: list[list[int]], reader: Reader) -> None:
    """Warn of sentences longer than the model was trained to read. Raises `InputError` where it cannot read them at all."""
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


def refuse_infinite(h_BK: Tensor, texts: list[str], widths: list[int]) -> None:
    """Raise `InputError` for activations that are not finite, with the first layer that has them and a sentence."""
    if all_finite(h_BK):
        return
    finite_L_B = [finite_BN.all(dim=1) for finite_BN in h_BK.isfinite().split(widths, dim=1)]
    layer, row = (~torch.stack(finite_L_B)).nonzero()[0].tolist()
    raise InputError(
        "model.dtype",
        "(as loaded)",
        f"layer {layer} gives NaN or infinite activations on the sentence {texts[row]!r}",
        "use model.dtype=float32 or bfloat16; if it is that already, the weights are damaged",
    )
