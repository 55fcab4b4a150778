"""The reader as a model of lm_eval, every text beginning as the reader begins it. Imported only where the harness is used."""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Any
from weakref import WeakKeyDictionary

from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from lf_experiments.evaluations.beginnings import continuation_scores
from lf_experiments.evaluations.losses import likelihood_and_misses, summed_scores
from lf_experiments.evaluations.reading import UNDER, Reading, Request
from lf_experiments.models.load import Reader, input_device
from lf_experiments.neurons.interventions import Intervention, Treated, nothing

ENCODED: WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple[Any, ...], list[int]]] = WeakKeyDictionary()
"""The texts that a tokenizer has encoded: a story is asked for with each of its endings, and again under each intervention."""


class ReaderLM(HFLM):
    """The reader's tokens and batches, log-likelihoods in float32, and each document under its own intervention.

    `interventions` are those that documents name by `UNDER`; without any all are read by the model as it is.
    """

    add_bos_token: bool

    def __init__(self, reader: Reader, reading: Reading, interventions: list[Intervention]) -> None:
        super().__init__(
            pretrained=reader.model,
            tokenizer=harness_tokenizer(reader),
            add_bos_token=bool(reader.prefix),
            prefix_token_id=reader.prefix[-1] if reader.prefix else None,
            max_length=reader.context,
            batch_size=reading.rows,
        )
        self.reader, self.reading = reader, reading
        self.interventions = interventions
        self.asked_under: list[Intervention] = []
        self._device = input_device(reader.model)  # of an offloaded model, `model.device` is where nothing can be computed
        self.prefix = reader.prefix
        self.encoded = ENCODED.setdefault(reader.tokenizer, {})

    def tok_encode(self, *text: Any, **how: Any) -> list[int]:
        """As `HFLM`; what was encoded before is not encoded again."""
        asked = (*text, *how.items(), self.add_bos_token, *self.prefix)
        if asked not in self.encoded:
            self.encoded[asked] = super().tok_encode(*text, **how)
        return self.encoded[asked]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """As `HFLM`; a context that is too long for the model loses its first words here, and keeps its beginning."""
        context_ids, continuation_ids = super()._encode_pair(context, continuation)
        room = self.max_length + 1 - len(self.prefix) - len(continuation_ids)  # the last token is predicted and not read
        words = context_ids[len(self.prefix) :]
        return self.prefix + words[max(0, len(words) - room) :], continuation_ids

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """As `HFLM`, with the interventions that the documents name."""
        self.asked_under = [self.interventions[request.doc[UNDER]] for request in requests] if self.interventions else []
        return super().loglikelihood(requests, disable_tqdm)

    def _loglikelihood_tokens(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        """As `HFLM`, in batches of which every row has its own intervention, and with the logits of continuations alone."""
        under = self.asked_under or [nothing(self.reader.widths)] * len(requests)
        texts = [Treated(self.request(context, asked), each) for (_, context, asked), each in zip(requests, under, strict=True)]
        scores = continuation_scores if self.reading.shared else summed_scores
        found = dict(scores(self.reader, texts, self.reading.batch_tokens, self.reading.chunked, likelihood_and_misses))
        return [(-nll, not misses) for nll, misses in (found[position] for position in range(len(texts)))]

    def request(self, context: list[int], continuation: list[int]) -> Request:
        """A continuation in its context, from the left as much of it as the model reads before the last token."""
        ids = (context + continuation)[-(self.max_length + 1) :]
        return Request(ids, len(ids) - len(continuation))

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """As `HFLM`, which gives the model the prefix by itself here: with a second one, the first would predict it."""
        begins, self.add_bos_token = self.add_bos_token, False
        try:
            return super().loglikelihood_rolling(requests, disable_tqdm)
        finally:
            self.add_bos_token = begins


def harness_tokenizer(reader: Reader) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer that begins a text as the reader does, and appends nothing."""
    tokenizer = deepcopy(reader.tokenizer)  # the harness gives it a padding token where it has none
    tokenizer.model_max_length = sys.maxsize  # the harness cuts what is too long; the tokenizer need not warn of it
    if reader.prefix and tokenizer.is_fast:
        written = tokenizer.convert_ids_to_tokens(reader.prefix)
        prefix = {"id": "prefix", "ids": reader.prefix, "tokens": written}
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="prefix $A", special_tokens=[prefix])
    return tokenizer
