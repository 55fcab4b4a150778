"""What a model writes under an intervention: greedy continuations of sentences, and two measures of them (appendix A)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from lf_experiments.evaluations.cells import Cell, KeptCells, Row
from lf_experiments.evaluations.finite import refuse_infinite
from lf_experiments.evaluations.matrix import matrix, read_cells
from lf_experiments.languages import script_share
from lf_experiments.models.batches import at_once, each_group, padded_left
from lf_experiments.models.families import head_width
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.interventions import Intervention, Treated

REPEATED_TOKENS = 4
"""Tokens in a row that count as repeated when they were there before."""

KEPT_BYTES = 1 << 32
"""What the keys and values of all that is continued side by side may take: 4 GiB."""


def continue_prompts(
    reader: Reader,
    interventions: list[Intervention],
    prompts: dict[str, list[str]],
    new_tokens: int,
    kept: KeptCells,
) -> pd.DataFrame:
    """Continue the prompts of every language under every intervention: the content of `generations.csv`.

    The prompts of all languages, and of as many interventions as `prompts_at_once` says, are one batch. `kept` as in `matrix`.
    Raises `InputError` for logits that are not finite.
    """
    lengths = [len(ids) for of_language in prompts.values() for ids in reader.sequences(of_language)]
    most = prompts_at_once(reader, lengths, new_tokens, reader.model.dtype.itemsize)
    sizes = {language: len(of_language) for language, of_language in prompts.items()}

    def evaluate(cells: list[Cell]) -> Iterator[list[Row]]:
        for cell, found in read_cells(reader, cells, prompts, sizes, most, continuations, new_tokens):
            refuse_infinite(None not in found, f"sentences in {cell.language}", cell.under)
            written = zip(prompts[cell.language], found, strict=True)
            yield [continuation(reader, prompt, ids, cell.language) for prompt, ids in written]

    return matrix("generation", evaluate, interventions, list(prompts), kept).drop(columns="matches")


def continuation(reader: Reader, prompt: str, ids: list[int], language: str) -> Row:
    """A row of `generations.csv`, without the intervention."""
    text = reader.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return {
        "prompt": prompt,
        "text": text,
        "script_share": script_share(text, language),
        "repetition": repetition(ids),
    }


def prompts_at_once(reader: Reader, lengths: list[int], new_tokens: int, bytes_per_weight: int) -> int:
    """How many prompts are continued at once: all, of so many tokens each, under as many interventions as memory is meant for.

    All positions of each keep their keys and values, no more than `KEPT_BYTES` in all but for those under one intervention.
    """
    of_prompt = kept_per_position(reader, bytes_per_weight) * (max(lengths, default=0) + new_tokens)
    return max(len(lengths), KEPT_BYTES // of_prompt)


def kept_per_position(reader: Reader, bytes_per_weight: int) -> int:
    """Bytes of the keys and values of a token in all layers."""
    config = reader.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * len(reader.sites) * heads * head_width(config) * bytes_per_weight


@torch.no_grad()
def continuations(reader: Reader, prompts: list[Treated], new_tokens: int) -> Results:
    """Yields the position of each prompt and the token ids that most likely follow, one by one, up to the end of the text.

    None in place of the ids of a prompt after which logits were not finite. Every prompt has its own intervention.
    """
    sequences, ends = reader.sequences([prompt for prompt, _ in prompts]), end_tokens(reader)
    greedy = GenerationConfig(
        max_new_tokens=new_tokens, do_sample=False, eos_token_id=ends or None, pad_token_id=(ends or [0])[0]
    )

    def continued(rows: list[int]) -> list[list[int] | None]:
        ids_BT, mask_BT = padded_left([sequences[row] for row in rows], input_device(reader.model))
        logits = FiniteLogits()
        with defaults_of_no_model(reader.model), reader.intervened(*[prompts[row].under for row in rows]):
            whole_BT = reader.model.generate(
                ids_BT, attention_mask=mask_BT, generation_config=greedy, logits_processor=LogitsProcessorList([logits])
            )
        finite = logits.finite()
        new = whole_BT[:, ids_BT.shape[1] :].tolist()
        found = [until_end(ids, ends) if is_finite else None for ids, is_finite in zip(new, finite, strict=True)]
        if len(rows) == 1:
            return found
        return [continued([row])[0] if ids is None else ids for row, ids in zip(rows, found, strict=True)]  # at the padding?

    for rows, found in each_group([list(range(len(sequences)))] if sequences else [], continued, at_once):
        yield from zip(rows, found, strict=True)


class FiniteLogits:
    """Looks at the logits of every step of `generate` and leaves them as they are: which sequences have only had finite ones.

    Minus infinity, with which some models rule tokens out, counts as finite.
    """

    finite_B: Tensor | None = None

    def __call__(self, _: Tensor, logits_BV: Tensor) -> Tensor:
        """As transformers calls a `LogitsProcessor`."""
        finite_B = logits_BV.amax(dim=1).isfinite()
        self.finite_B = finite_B if self.finite_B is None else self.finite_B & finite_B
        return logits_BV

    def finite(self) -> list[bool]:
        """For each sequence, whether all its logits were."""
        return [] if self.finite_B is None else self.finite_B.tolist()


@contextmanager
def defaults_of_no_model(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block `generate` does what it is told, and takes nothing from `generation_config.json` but what ends a text.

    A repetition penalty or beams from there are settings for a chat, not properties of the model.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig(eos_token_id=own.eos_token_id)
    try:
        yield
    finally:
        model.generation_config = own


def end_tokens(reader: Reader) -> list[int]:
    """The tokens that end a text: those of the tokenizer and of the model's `generation_config.json`."""
    of_model = reader.model.generation_config.eos_token_id
    of_model = of_model if isinstance(of_model, list) else [of_model]
    return sorted({token for token in (reader.tokenizer.eos_token_id, *of_model) if token is not None})


def until_end(ids: list[int], ends: list[int]) -> list[int]:
    """The ids before the end of the text; what follows it is padding."""
    return ids[: next((position for position, token in enumerate(ids) if token in ends), len(ids))]


def repetition(ids: list[int]) -> float:
    """The share of the runs of four tokens that were there before; 0 where there are fewer than four tokens."""
    runs = [tuple(ids[start : start + REPEATED_TOKENS]) for start in range(len(ids) - REPEATED_TOKENS + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
