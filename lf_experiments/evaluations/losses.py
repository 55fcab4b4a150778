"""The negative log-likelihood of predicted tokens, with the language-model head applied to them alone, in chunks.

Shapes are written as suffixes: B sequences of a batch, T tokens, P predicted tokens of a batch, C of a chunk, D hidden size,
V vocabulary, M numbers about a token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from lf_experiments.models.arrivals import Arriving, sent
from lf_experiments.models.batches import each_group, padded, rows_by_budget
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.interventions import Treated

log = logging.getLogger(__name__)

CHUNK_LOGITS = 1 << 24
"""Logits held at once: 64 MiB in float32."""

HELD_LOGITS = 1 << 28
"""Logits of a batch where those of every token are held: 1 GiB in float32."""

Score = Callable[[Tensor, Tensor], Tensor]
"""(logits (C, V), targets (C,)) -> (C, M) in float32: what is said of every predicted token, to be summed."""


class Tokens(Protocol):
    """Token ids of which the first are given, and those after them predicted."""

    @property
    def ids(self) -> list[int]:
        """All of them."""

    @property
    def given(self) -> int:
        """How many are given, 1 or more."""


class Predicted(NamedTuple):
    """The predicted tokens of a batch."""

    row_P: Tensor
    place_P: Tensor
    """Where the model has read all that stands before the token."""
    target_P: Tensor


def window_nll(reader: Reader, windows: list[Treated], batch_tokens: int, chunked: bool) -> Results:
    """Yields the position of each window and its summed negative log-likelihood in nats; as `summed_scores`."""
    for position, (nll,) in summed_scores(reader, windows, batch_tokens, chunked, negative_log_likelihood):
        yield position, nll


@torch.no_grad()
def summed_scores(reader: Reader, texts: list[Treated], batch_tokens: int, chunked: bool, score: Score) -> Results:
    """Yields the position of each text, `Tokens` under an intervention, and the sums of its scores, a list of M numbers.

    They are read in batches; of texts that differ in their last token alone one is read, without it. `chunked` as
    `head_can_be_chunked` says.
    """
    same: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for position, (text, under) in enumerate(texts):
        same.setdefault((id(under), tuple(text.ids[:-1])), []).append(position)
    sequences = [(texts[positions[0]], positions) for positions in same.values()]
    scores = chunked_scores if chunked else full_scores
    batch_tokens = tokens_at_once(reader, batch_tokens, chunked)

    def launch(rows: list[int]) -> Arriving:
        read = [sequences[row] for row in rows]
        batch = padded([text.ids[:-1] for (text, _), _ in read], input_device(reader.model))
        asked = [(place, texts[position].item) for place, (_, positions) in enumerate(read) for position in positions]
        with reader.intervened(*[under for (_, under), _ in read]):
            return sent(scores(reader.model, *batch, predicted_tokens(asked), score))

    def sums(rows: list[int], arriving: Arriving) -> list[tuple[int, list[float]]]:
        positions = [position for row in rows for position in sequences[row][1]]
        found, are_finite = text_sums([texts[position].item for position in positions], arriving)
        if len(rows) > 1 and not are_finite:  # perhaps at the padding alone
            return [alone for row in rows for alone in sums([row], launch([row]))]
        return list(zip(positions, found, strict=True))

    lengths = [len(text.ids) - 1 for (text, _), _ in sequences]
    for _, found in each_group(rows_by_budget(lengths, batch_tokens), launch, sums):
        yield from found


def tokens_at_once(reader: Reader, batch_tokens: int, chunked: bool) -> int:
    """Tokens of a batch: fewer where the logits of all of them are held."""
    return batch_tokens if chunked else min(batch_tokens, HELD_LOGITS // reader.model.config.get_text_config().vocab_size)


def text_sums(texts: Sequence[Tokens], arriving: Arriving) -> tuple[list[list[float]], bool]:
    """The sums of the scores of the predicted tokens of each text, which follow each other, and whether all are finite."""
    scores_PM = arriving.tensor().double()
    sums = [of_text_PM.sum(dim=0) for of_text_PM in scores_PM.split([len(text.ids) - text.given for text in texts])]
    return [sum_M.tolist() for sum_M in sums], all(bool(sum_M.isfinite().all()) for sum_M in sums)


def predicted_tokens(texts: Sequence[tuple[int, Tokens]]) -> Predicted:
    """The predicted tokens of texts, each of which is read as a row of a batch."""
    row_P = [row for row, text in texts for _ in text.ids[text.given :]]
    place_P = [place for _, text in texts for place in range(text.given - 1, len(text.ids) - 1)]
    target_P = [token for _, text in texts for token in text.ids[text.given :]]
    return Predicted(*map(torch.tensor, (row_P, place_P, target_P)))


def full_scores(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor, predicted: Predicted, score: Score) -> Tensor:
    """The scores of predicted tokens, from the logits of all tokens at once: (P, M) where the logits are."""
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    row_P, place_P, target_P = (each.to(logits_BTV.device, non_blocking=True) for each in predicted)
    return score(logits_BTV[row_P, place_P], target_P)


def chunked_scores(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor, predicted: Predicted, score: Score) -> Tensor:
    """As `full_scores`, with the logits of predicted tokens alone, and never of more than a chunk of them."""
    hidden_BTD = model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
    row_P, place_P, target_P = (each.to(hidden_BTD.device, non_blocking=True) for each in predicted)
    return head_scores(model, hidden_BTD[row_P, place_P], target_P, score)


def head_scores(model: PreTrainedModel, hidden_PD: Tensor, target_P: Tensor, score: Score) -> Tensor:
    """The scores of tokens, (P, M), from the last hidden states that predict them."""
    head = model.get_output_embeddings()
    tokens = max(1, CHUNK_LOGITS // model.config.get_text_config().vocab_size)
    chunks = zip(hidden_PD.split(tokens), target_P.split(tokens), strict=True)
    return torch.cat([score(head(hidden_CD), target_C) for hidden_CD, target_C in chunks])


def negative_log_likelihood(logits_CV: Tensor, target_C: Tensor) -> Tensor:
    """That of each target, (C, 1) in nats: in float32 whatever the dtype of the logits."""
    return F.cross_entropy(logits_CV.float(), target_C.to(logits_CV.device), reduction="none")[:, None]


def likelihood_and_misses(logits_CV: Tensor, target_C: Tensor) -> Tensor:
    """The negative log-likelihood of each target, and 1 where another token is likelier: (C, 2)."""
    is_miss_C1 = (logits_CV.argmax(dim=1) != target_C.to(logits_CV.device))[:, None]
    return torch.cat([negative_log_likelihood(logits_CV, target_C), is_miss_C1], dim=1)


@torch.no_grad()
def head_can_be_chunked(reader: Reader) -> bool:
    """Whether the head applied to the last hidden state gives the model's own logits; some models scale or cap them after."""
    model = reader.model
    ids_1T = torch.arange(8, device=input_device(model))[None] % model.config.get_text_config().vocab_size
    expected = model(input_ids=ids_1T, use_cache=False).logits.float()
    hidden = model.base_model(input_ids=ids_1T, use_cache=False).last_hidden_state
    found = model.get_output_embeddings()(hidden).float().to(expected.device)
    agrees = found.shape == expected.shape and bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-3))
    if not agrees:
        log.warning("%s changes its logits after the head: perplexity holds all logits at once.", model.config.model_type)
    return agrees
