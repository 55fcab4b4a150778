"""A byte-level BPE tokenizer for the grown models, learnt from the sentences that they are trained on."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PADDING, END = "<pad>", "</s>"


def trained_tokenizer(sentences: Iterable[str], vocabulary: int, window: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `vocabulary` entries: the 256 bytes, two special tokens and the most useful merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PADDING, eos_token=END, padding_side="right", model_max_length=window
    )
