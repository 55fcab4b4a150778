"""Perplexity of text in windows, with the language-model head applied in chunks (sec. 4.3).

Shapes are written as suffixes: B windows of a batch, T tokens, P predicted tokens of a batch, D hidden size, V vocabulary.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from lf_experiments.config import InputError, TextConfig, Windows
from lf_experiments.models.batches import each_group, padded, rows_by_budget
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.deactivate import deactivated

log = logging.getLogger(__name__)

DOCUMENT_SEPARATOR = "\n\n"
LONGEST_WINDOW = 8192
"""Tokens of a window by default, for a model that reads more at once than a text may have."""

CHUNK_LOGITS = 1 << 24
"""Logits held at once: 64 MiB in float32."""


@dataclass(frozen=True)
class Window:
    """Tokens scored together; the first is given, the others are predicted."""

    ids: list[int]
    bytes: int
    """UTF-8 bytes of the text that the predicted tokens stand for."""


@dataclass(frozen=True)
class Likelihood:
    """What a model makes of a text."""

    nll: float
    """Summed negative log-likelihood of the predicted tokens, in nats."""
    tokens: int
    """Predicted tokens."""
    bytes: int
    """UTF-8 bytes they stand for."""

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-likelihood per predicted token."""
        return math.exp(self.nll / self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers, which perplexity is not."""
        return self.nll / math.log(2) / self.bytes


def text_windows(reader: Reader, documents: list[str], text: TextConfig, language: str) -> list[Window]:
    """The windows of a text, each of `text.window` tokens or, by default, of the model's context, at most `LONGEST_WINDOW`.

    Joined documents are cut into equal windows and the rest is dropped, the paper's way; documents by themselves are cut
    where they are longer than a window. Raises `InputError` where nothing is long enough to be scored.
    """
    size = text.window or (reader.context and min(reader.context, LONGEST_WINDOW))
    if size is None:
        raise InputError("text.window", "null", "the model does not say how much it reads at once", "give text.window=TOKENS")
    if reader.context is not None and size > reader.context:
        if not reader.reads_beyond_context:
            problem = f"this model cannot read more than {reader.context} tokens at once"
            raise InputError("text.window", size, problem, f"give text.window={reader.context} or less")
        log.warning("text.window=%d is more than the %d tokens the model reads at once", size, reader.context)
    if text.windows is Windows.joined:
        windows = cut(reader, DOCUMENT_SEPARATOR.join(documents), size)
        windows = [window for window in windows if len(window.ids) == size]
        remedy = f"give more text, text.window below {size}, or text.windows=documents"
    else:
        windows = [window for document in documents for window in cut(reader, document, size) if len(window.ids) > 1]
        remedy = "give documents of two tokens or more"
    if not windows:
        raise InputError("text.window", size, f"the text in {language} is shorter than one window of {size} tokens", remedy)
    return windows


def cut(reader: Reader, text: str, size: int) -> list[Window]:
    """The tokens of one text in windows of `size`, the last of which may be shorter."""
    encoded = reader.tokenizer(text, add_special_tokens=reader.add_special_tokens, return_offsets_mapping=True, verbose=False)
    ids, starts = encoded["input_ids"], [start for start, _ in encoded["offset_mapping"]]
    bytes_before = byte_positions(text)
    position = [bytes_before[start] for start in starts] + [bytes_before[len(text)]]
    return [
        Window(ids[begin:end], position[end] - position[begin + 1])
        for begin in range(0, len(ids), size)
        for end in [min(begin + size, len(ids))]
    ]


def byte_positions(text: str) -> list[int]:
    """How many UTF-8 bytes stand before each character, and after the last."""
    positions = [0]
    for character in text:
        positions.append(positions[-1] + len(character.encode()))
    return positions


def likelihood(reader: Reader, windows: list[Window], batch_tokens: int, chunked: bool, off_LN: Tensor) -> Likelihood:
    """The likelihood of a text with the neurons of `off_LN` off; `chunked` as `head_can_be_chunked` says."""
    parts = reader.share(likelihoods, windows, batch_tokens, chunked, off_LN)
    nll = math.fsum(nll for _, nll in parts)
    tokens = sum(len(window.ids) - 1 for window in windows)
    return Likelihood(nll, tokens, sum(window.bytes for window in windows))


@torch.no_grad()
def likelihoods(reader: Reader, windows: list[Window], batch_tokens: int, chunked: bool, off_LN: Tensor) -> Results:
    """Yields, batch by batch, the position of a window and the summed negative log-likelihood of the batch it is in."""
    groups = rows_by_budget([len(window.ids) for window in windows], batch_tokens)
    negative_log_likelihood = chunked_nll if chunked else full_nll

    def score(rows: list[int]) -> float:
        ids_BT, mask_BT = padded([windows[row].ids for row in rows], input_device(reader.model))
        return negative_log_likelihood(reader.model, ids_BT, mask_BT)

    with deactivated(reader.sites, off_LN):
        for rows, nll in each_group(groups, score):
            yield rows[0], nll


def full_nll(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor) -> float:
    """Summed negative log-likelihood of every token after the first of each row, in nats, from all logits at once."""
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    predicted_BT = mask_BT[:, 1:].bool()
    logits_PV = logits_BTV[:, :-1][predicted_BT.to(logits_BTV.device)]
    return summed_cross_entropy(logits_PV, ids_BT[:, 1:][predicted_BT])


def chunked_nll(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor) -> float:
    """As `full_nll`, without ever holding the logits of more than a chunk of the tokens."""
    hidden_BTD = model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
    predicted_BT = mask_BT[:, 1:].bool()
    hidden_PD = hidden_BTD[:, :-1][predicted_BT.to(hidden_BTD.device)]
    target_P = ids_BT[:, 1:][predicted_BT]
    head = model.get_output_embeddings()
    rows = max(1, CHUNK_LOGITS // model.config.get_text_config().vocab_size)
    chunks = zip(hidden_PD.split(rows), target_P.split(rows), strict=True)
    return math.fsum(summed_cross_entropy(head(hidden_CD), target_C) for hidden_CD, target_C in chunks)


def summed_cross_entropy(logits_PV: Tensor, target_P: Tensor) -> float:
    """In float32 whatever the dtype of the logits, summed in float64."""
    nll_P = F.cross_entropy(logits_PV.float(), target_P.to(logits_PV.device), reduction="none")
    return nll_P.sum(dtype=torch.float64).item()


@torch.no_grad()
def head_can_be_chunked(model: PreTrainedModel) -> bool:
    """Whether the head applied to the last hidden state gives the model's own logits; some models scale or cap them after."""
    ids_1T = torch.arange(8, device=input_device(model))[None] % model.config.get_text_config().vocab_size
    expected = model(input_ids=ids_1T, use_cache=False).logits.float()
    hidden = model.base_model(input_ids=ids_1T, use_cache=False).last_hidden_state
    found = model.get_output_embeddings()(hidden).float().to(expected.device)
    agrees = found.shape == expected.shape and bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-3))
    if not agrees:
        log.warning("%s changes its logits after the head: perplexity holds all logits at once.", model.config.model_type)
    return agrees
