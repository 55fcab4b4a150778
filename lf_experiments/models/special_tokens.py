"""Special tokens: what a model's own tokenizer puts before every text, such as the `<bos>` of LLaMA, Gemma and Mistral.

A model that was trained with such a token needs it: it attends to the first token where nothing else is worth attending to.
The token is read like any other, but it is no part of the sentence: it is not averaged, not predicted and not counted.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from lf_experiments.config.schema import SpecialTokens
from lf_experiments.errors import InputError

SAMPLE = "The child reads a book."


def text_prefix(tokenizer: PreTrainedTokenizerBase, special_tokens: SpecialTokens) -> list[int]:
    """The token ids that begin every text: those the tokenizer puts before one; empty with `SpecialTokens.none`.

    They are found by comparing a text with and without special tokens. What the tokenizer appends, such as the end of the
    text, is left out. Raises `InputError` for a tokenizer that changes the text itself when it adds special tokens.
    """
    if special_tokens is SpecialTokens.none:
        return []
    bare, whole = (tokenizer(SAMPLE, add_special_tokens=add, verbose=False)["input_ids"] for add in (False, True))
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start]
    raise InputError(
        "model.special_tokens",
        special_tokens.name,
        "with its special tokens, the tokenizer of this model splits a text into other tokens than without",
        "use model.special_tokens=none",
    )


def prefix_text(tokenizer: PreTrainedTokenizerBase, special_tokens: SpecialTokens) -> str:
    """The tokens of `text_prefix` as they are written, such as `<bos>`; empty where there are none."""
    return " ".join(tokenizer.convert_ids_to_tokens(text_prefix(tokenizer, special_tokens)))
