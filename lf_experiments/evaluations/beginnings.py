"""Several continuations of one beginning, as the endings of a story or the answers to a question: the beginning is read once.

Shapes are written as suffixes: B beginnings of a batch, C their continuations, T tokens, P predicted tokens, X what predicts a
token (the hidden state before it, or its logits), M numbers about a token.
"""

from __future__ import annotations

import inspect
import logging
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lf_experiments.evaluations.losses import (
    Score,
    head_can_be_chunked,
    head_scores,
    negative_log_likelihood,
    summed_scores,
    text_sums,
    tokens_at_once,
)
from lf_experiments.evaluations.reading import Reading, Request
from lf_experiments.models.arrivals import Arriving, sent
from lf_experiments.models.batches import each_group, padded, padded_left, rows_by_budget
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.interventions import Treated, nothing

log = logging.getLogger(__name__)


def reading_of(reader: Reader, batch_tokens: int) -> Reading:
    """How the harness reads with this model."""
    chunked = reader.ask(head_can_be_chunked)
    return Reading(batch_tokens, chunked, reader.ask(beginnings_can_be_shared, chunked))


class Beginning(NamedTuple):
    """What several texts begin with."""

    ids: list[int]
    texts: list[int]
    """Their positions."""


@torch.no_grad()
def continuation_scores(reader: Reader, texts: list[Treated], batch_tokens: int, chunked: bool, score: Score) -> Results:
    """As `summed_scores`; of texts under the same intervention whose given tokens are the same, those are read once."""
    same: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for position, (text, under) in enumerate(texts):
        same.setdefault((id(under), tuple(text.ids[: text.given])), []).append(position)
    beginnings = [Beginning(list(ids), positions) for (_, ids), positions in same.items() if len(positions) > 1]
    batch_tokens = tokens_at_once(reader, batch_tokens, chunked)

    def whole(positions: list[int]) -> Results:
        for place, found in summed_scores(reader, [texts[position] for position in positions], batch_tokens, chunked, score):
            yield positions[place], found

    def launch(rows: list[int]) -> Arriving:
        return sent(scores_after(reader, [beginnings[row] for row in rows], texts, chunked, score))

    def sums(rows: list[int], arriving: Arriving) -> list[tuple[int, list[float]]]:
        positions = [position for row in rows for position in beginnings[row].texts]
        found, are_finite = text_sums([texts[position].item for position in positions], arriving)
        if not are_finite:  # perhaps at the padding alone
            return list(whole(positions))
        return list(zip(positions, found, strict=True))

    yield from whole([positions[0] for positions in same.values() if len(positions) == 1])
    lengths = [sum(len(texts[position].item.ids) for position in beginning.texts) for beginning in beginnings]
    for _, found in each_group(rows_by_budget(lengths, batch_tokens), launch, sums):
        yield from found


def scores_after(reader: Reader, beginnings: list[Beginning], texts: list[Treated], chunked: bool, score: Score) -> Tensor:
    """The scores of the predicted tokens of all texts with these beginnings, one text after the other: (P, M).

    The last token of a beginning predicts the first token of each continuation, and the continuation the rest of its own.
    """
    model, device = reader.model, input_device(reader.model)
    ids_BT, mask_BT = padded_left([beginning.ids for beginning in beginnings], device)
    keys_and_values = DynamicCache(config=model.config)
    with reader.intervened(*[texts[beginning.texts[0]].under for beginning in beginnings]):
        begun_BTX = read_on(model, ids_BT, mask_BT, keys_and_values, chunked)
    asked = [texts[position] for beginning in beginnings for position in beginning.texts]
    row_C = torch.tensor([row for row, beginning in enumerate(beginnings) for _ in beginning.texts], device=device)
    ids_CT, further_CT = padded([text.ids[text.given : -1] for text, _ in asked], device)
    predicting_CTX = begun_BTX[row_C.to(begun_BTX.device), -1:]
    if ids_CT.shape[1]:
        keys_and_values.batch_select_indices(row_C)
        with reader.intervened(*[under for _, under in asked]):
            continued_CTX = read_on(model, ids_CT, torch.cat([mask_BT[row_C], further_CT], dim=1), keys_and_values, chunked)
        predicting_CTX = torch.cat([predicting_CTX, continued_CTX], dim=1)
    is_text_CT = torch.cat([torch.ones_like(row_C)[:, None], further_CT], dim=1).bool()
    predicting_PX = predicting_CTX[is_text_CT.to(predicting_CTX.device)]
    target_P = torch.tensor([token for text, _ in asked for token in text.ids[text.given :]], device=predicting_PX.device)
    return head_scores(model, predicting_PX, target_P, score) if chunked else score(predicting_PX, target_P)


def read_on(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor, keys_and_values: DynamicCache, chunked: bool) -> Tensor:
    """What predicts the token after each of the ids: (B, T, X), their hidden states, or logits where the head is not `chunked`.

    `mask_BT` is over all tokens, those whose keys and values there are already come first; those of the ids are added.
    """
    reading = model.base_model if chunked else model
    given = {"input_ids": ids_BT, "attention_mask": mask_BT, "past_key_values": keys_and_values, "use_cache": True}
    if "position_ids" in inspect.signature(reading.forward).parameters:
        given["position_ids"] = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
    found = reading(**given)
    return found.last_hidden_state if chunked else found.logits


def beginnings_can_be_shared(reader: Reader, chunked: bool) -> bool:
    """Whether texts get the same scores where their beginning is read once: the model keeps keys and values as others do."""
    ids = [token % reader.model.config.get_text_config().vocab_size for token in range(3, 40)]
    under = nothing(reader.widths)
    texts = [Treated(Request(ids[:9] + ids[start:end], 9), under) for start, end in ((10, 14), (20, 21), (30, 32))]
    texts += [Treated(Request(ids[5:9] + ids[start:end], 4), under) for start, end in ((10, 12), (20, 27))]
    expected = dict(summed_scores(reader, texts, 10_000, chunked, negative_log_likelihood))
    try:
        found = dict(continuation_scores(reader, texts, 10_000, chunked, negative_log_likelihood))
    except Exception as error:  # noqa: BLE001 - whatever a model cannot do with keys and values, it can be read without
        log.debug("Beginnings are read with every continuation: %s", error)
        return False
    tolerance = 1e-3 if reader.model.dtype == torch.float32 else 5e-2
    return all(abs(found[text][0] - nll) <= tolerance * max(1.0, nll) for text, (nll,) in expected.items())
