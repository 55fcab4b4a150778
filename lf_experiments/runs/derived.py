"""What follows from the tables of a run: pure functions of tables, for whoever shows or judges them.

Shapes are written as suffixes: S samples (sentences), G languages.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

NOTHING, RANDOM = "none", "random"
"""In the column `deactivated`: the full model, and the control of random neurons; anything else is a language."""
MATCHED = "matched"
"""How a table here heads the random neurons that match the region of the language of their row; `random` are the paper's."""
CONTROLS = (RANDOM, MATCHED)


def full_model(perplexity: pd.DataFrame) -> pd.Series:
    """The perplexity of every language before anything is deactivated, from `perplexity.csv`."""
    return perplexity[perplexity["deactivated"] == NOTHING].set_index("language")["perplexity"]


def increases(perplexity: pd.DataFrame) -> pd.DataFrame:
    """The increase of the perplexity in percent, at the full dose, from `perplexity.csv`.

    Rows are the evaluated languages; columns the deactivated languages and, last, the controls there are, `random` and
    `matched`, each the mean over its draws.
    """
    at_full_dose = perplexity[is_at_full_dose(perplexity)]
    deactivated = at_full_dose.assign(deactivated=what_is_off(at_full_dose)).query("deactivated != @NOTHING")
    table = deactivated.pivot_table(
        values="increase_percent", index="language", columns="deactivated", aggfunc="mean", sort=False, dropna=False
    )
    return table[sorted(table, key=lambda name: (name in CONTROLS, name == MATCHED))]


def increase_intervals(perplexity: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The ends of the intervals of `increases` without its controls, in percent; None where `perplexity.csv` has none."""
    if not {"lo", "hi"} <= set(perplexity) or perplexity["lo"].isna().all():
        return None
    regions = perplexity[is_at_full_dose(perplexity) & ~perplexity["deactivated"].isin((NOTHING, RANDOM))]
    rows, columns = regions["language"].unique(), regions["deactivated"].unique()

    def percent(end: str) -> pd.DataFrame:
        table = regions.pivot(index="language", columns="deactivated", values=end).reindex(index=rows, columns=columns)
        return 100 * np.expm1(table)

    return percent("lo"), percent("hi")


def what_is_off(table: pd.DataFrame) -> pd.Series:
    """The column `deactivated` of a table with the two kinds of random neurons told apart: `random` and `matched`."""
    if "matches" not in table:
        return table["deactivated"]
    return table["deactivated"].mask((table["deactivated"] == RANDOM) & (table["matches"] != ""), MATCHED)


def is_at_full_dose(table: pd.DataFrame) -> pd.Series:
    """Which rows are of an intervention at the largest dose; all of them in a table that tells no doses."""
    if "dose" not in table:
        return pd.Series(True, table.index)
    return (table["deactivated"] == NOTHING) | table["dose"].eq(table.loc[table["deactivated"] != NOTHING, "dose"].max())


def region_sizes(regions: pd.DataFrame) -> pd.DataFrame:
    """The columns `key_neurons` and `neurons` of `regions.csv` summed over layers, one row per language, in map order."""
    return regions.groupby("language", sort=False)[["key_neurons", "neurons"]].sum()


def key_neurons_by_layer(regions: pd.DataFrame) -> pd.Series:
    """The key neurons of all languages together, layer by layer, from `regions.csv`."""
    return regions.groupby("layer")["key_neurons"].sum()


def null_neurons(regions: pd.DataFrame, by: str) -> pd.Series | None:
    """The key neurons under shuffled languages by `layer` or by `language`, from `regions.csv`; None where it tells none."""
    if "null_mean" not in regions or regions["null_mean"].isna().all():
        return None
    return regions.groupby(by, sort=False)["null_mean"].sum()


def mean_stderr(cloze: pd.DataFrame) -> float | None:
    """The mean over languages of the standard errors of the full model in `cloze.csv`; None where one is missing."""
    errors = cloze.loc[cloze["deactivated"] == NOTHING, "stderr"]
    return None if errors.empty or errors.isna().any() else float(errors.mean())


def continuations(generations: pd.DataFrame) -> pd.DataFrame:
    """`generations.csv` with the deactivations in the order of the languages; `sample` numbers the prompts of each from 0."""
    order = [NOTHING, *generations["language"].unique()]
    table = generations.sort_values("deactivated", key=lambda names: names.map(order.index), kind="stable")
    return table.assign(sample=table.groupby(["deactivated", "language"], sort=False).cumcount())


def without_each_meaning(similarity_SS: np.ndarray, samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """The tables of `language_similarities` again without each meaning in turn, (M, G, G) both.

    None for fewer than three meanings, and where a language lacks one or has it twice.
    """
    language_S, languages = samples["language"].factorize()
    meaning_S, meanings = samples["meaning"].factorize()
    n = len(meanings)
    order = np.lexsort((meaning_S, language_S))
    complete = np.array_equal(language_S[order] * n + meaning_S[order], np.arange(len(languages) * n))
    if n < 3 or not complete:
        return None
    block_GnGn = similarity_SS[np.ix_(order, order)].reshape(len(languages), n, len(languages), n)
    row_MGG = block_GnGn.sum(axis=3).transpose(1, 0, 2)
    self_MGG = np.einsum("gmhm->mgh", block_GnGn)
    different_GG = row_MGG.sum(axis=0) - self_MGG.sum(axis=0)
    lost_MGG = row_MGG + row_MGG.transpose(0, 2, 1) - 2 * self_MGG
    return (self_MGG.sum(axis=0) - self_MGG) / (n - 1), (different_GG - lost_MGG) / ((n - 1) * (n - 2))


def language_similarities(similarity_SS: np.ndarray, samples: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mean similarity of every pair of languages, over sentences of the same meaning and over those of different ones.

    Both are (G, G) tables by language code: the block means of the similarity map that eq. (8) and (9) compare. Their
    diagonals are of one language; that of the first is 1, every sentence beside itself.
    """
    language_S, languages = samples["language"].factorize()
    meaning_S, _ = samples["meaning"].factorize()
    in_GS = (language_S == np.arange(len(languages))[:, None]).astype(float)
    same_SS = (meaning_S[:, None] == meaning_S).astype(float)
    means = [in_GS @ (similarity_SS * of_SS) @ in_GS.T / (in_GS @ of_SS @ in_GS.T) for of_SS in (same_SS, 1 - same_SS)]
    same_GG, different_GG = (pd.DataFrame(mean_GG, languages, languages) for mean_GG in means)
    return same_GG, different_GG
