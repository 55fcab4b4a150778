"""What a model writes with a key linguistic region off: continuations of sentences, and what became of them (appendix A)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import regex
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig

from lf_experiments.evaluations.deactivation import Deactivation
from lf_experiments.languages import LANGUAGES
from lf_experiments.models.batches import each_group, padded
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.deactivate import deactivated

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""What stands for bytes that are no character: a tokenizer of bytes can write half of one."""

REPEATED_TOKENS = 4
"""Tokens in a row that count as repeated when they were there before."""

Row = dict[str, Any]
"""One continuation: the columns of `generations.csv`."""


def generation_table(
    reader: Reader,
    deactivations: list[Deactivation],
    prompts: dict[str, list[str]],
    new_tokens: int,
    rows: list[Row],
    keep: Callable[[list[Row]], None],
) -> pd.DataFrame:
    """The continuation of every prompt under every deactivation, in the columns of `generations.csv`.

    `prompts` holds those of each language. `rows` are those that an interrupted run has left; the deactivations in them are not
    run again. `keep` is given all there are after each deactivation.
    """
    rows = list(rows)
    done = {row["deactivated"] for row in rows}
    asked = [(language, prompt) for language, texts in prompts.items() for prompt in texts]
    for deactivation in tqdm(deactivations, desc="generation", unit="region", mininterval=1.0):
        if deactivation.name not in done:
            found = dict(reader.share(continuations, [prompt for _, prompt in asked], new_tokens, deactivation.off_LN))
            for position, (language, prompt) in enumerate(asked):
                ids = found[position]
                text = reader.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                rows.append(
                    {
                        "deactivated": deactivation.name,
                        "language": language,
                        "prompt": prompt,
                        "text": text,
                        "script_share": script_share(text, language),
                        "repetition": repetition(ids),
                    }
                )
            keep(rows)
    return pd.DataFrame(rows)


@torch.no_grad()
def continuations(reader: Reader, prompts: list[str], new_tokens: int, off_LN: Tensor) -> Results:
    """Yields the position of each prompt and the token ids that most likely follow, one by one, up to the end of the text."""
    sequences = reader.token_ids(prompts)

    def continued(rows: list[int]) -> list[list[int]]:
        ids_BT, mask_BT = padded([sequences[row][::-1] for row in rows], input_device(reader.model))
        ids_BT, mask_BT = ids_BT.flip(1), mask_BT.flip(1)  # on the left: what follows must follow the last token
        greedy = GenerationConfig(
            max_new_tokens=new_tokens, do_sample=False, eos_token_id=reader.tokenizer.eos_token_id, pad_token_id=0
        )
        whole_BT = reader.model.generate(ids_BT, attention_mask=mask_BT, generation_config=greedy)
        return [until_end(ids, reader.tokenizer.eos_token_id) for ids in whole_BT[:, ids_BT.shape[1] :].tolist()]

    with deactivated(reader.sites, off_LN):
        for rows, found in each_group([list(range(len(sequences)))] if sequences else [], continued):
            yield from zip(rows, found, strict=True)


def until_end(ids: list[int], end: int | None) -> list[int]:
    """The ids before the end of the text; what follows it is padding."""
    return ids[: ids.index(end)] if end in ids else ids


def script_share(text: str, language: str) -> float | None:
    """The share of the letters of a text that are of the script of a language; broken characters count as of none.

    None where there is no letter, or where the script of the language is not known.
    """
    letters = regex.findall(rf"[\p{{L}}{REPLACEMENT}]", text)
    if not letters or language not in LANGUAGES:
        return None
    scripts = "".join(rf"\p{{Script={script}}}" for script in LANGUAGES[language].script.split("+"))
    return sum(bool(regex.match(f"[{scripts}]", letter)) for letter in letters) / len(letters)


def repetition(ids: list[int]) -> float:
    """The share of the runs of four tokens that were there before; 0 where there are fewer than four tokens."""
    runs = [tuple(ids[start : start + REPEATED_TOKENS]) for start in range(len(ids) - REPEATED_TOKENS + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
