"""Baselines: what the scores of a similarity map are without learning, as paired differences on the same sentences.

Shapes are written as suffixes: S sentences, V tokens of the vocabulary that occur, M meanings.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from lf_experiments.equations import similarity_map
from lf_experiments.measures.similarity import FEWEST
from lf_experiments.measures.uncertainty.components import components
from lf_experiments.measures.uncertainty.estimate import Estimate

COLUMNS = ["baseline", "score", "value", "lo", "hi", "difference", "difference_lo", "difference_hi"]


def token_map(sequences: list[list[int]]) -> Tensor:
    """Eq. (7) of bags of tokens, (S, S) in float64: how often each token occurs in a sentence stands for the neurons.

    It is what the tokens alone give, in any order: languages differ in them, and translations share names and numbers.
    """
    column_of = {token: column for column, token in enumerate(sorted({token for ids in sequences for token in ids}))}
    count_SV = torch.zeros(len(sequences), len(column_of))
    for row, ids in enumerate(sequences):
        count_SV[row] = torch.bincount(torch.tensor([column_of[token] for token in ids]), minlength=len(column_of))
    return similarity_map((count_SV @ count_SV.T).to(torch.float64))


def baseline_table(
    model_SS: Tensor, baseline_SS: dict[str, Tensor], languages: int, level: float | None, document_M: Tensor | None
) -> pd.DataFrame:
    """Every score of every baseline beside that of the model, in the columns of `baselines.csv`.

    `difference` is the model less the baseline, paired by meaning, or by document where `document_M` numbers them. The ends of
    intervals are empty without a level, and for fewer than three meanings.
    """
    level = level if len(model_SS) // languages >= FEWEST else None
    of_model = components(model_SS, languages)
    rows = []
    for name, map_SS in baseline_SS.items():
        for score, estimate in components(map_SS, languages).items():
            difference = of_model[score] - estimate
            ends = (*ends_of(estimate, level, document_M), difference.value, *ends_of(difference, level, document_M))
            rows.append((name, score, estimate.value, *ends))
    return pd.DataFrame(rows, columns=COLUMNS)


def ends_of(estimate: Estimate, level: float | None, document_M: Tensor | None) -> tuple[float | None, float | None]:
    """The interval of an estimate, over documents where they are numbered."""
    if level is None:
        return None, None
    return (estimate if document_M is None else estimate.of_groups(document_M)).interval(level)
