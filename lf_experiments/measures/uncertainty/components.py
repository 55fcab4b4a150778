"""The unit of similarity in parts: common, language, meaning and the rest, each an estimate over meanings.

LRDS and SADS (eq. 8 and 9) are the variance components of a two-way analysis of the unit activation vectors, language by
meaning: 1 = common + LRDS + SADS + rest. All parts follow from two matrices over pairs of languages: the mean similarity
of sentences of different meanings, and that of translations.

Shapes are written as suffixes: S sentences, G languages, n or M meanings; `...` is any shape, such as one meaning left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lf_experiments.measures.uncertainty.estimate import Estimate, from_leave_one_out

COMPONENTS = ("common", "lrds", "sads", "rest", "language_share", "meaning_share", "alignment")


def components(similarity_SS: Tensor, languages: int) -> dict[str, Estimate]:
    """The parts of a similarity map (eq. 7), {name: estimate}.

    The map is language by language, with the same meanings in the same order in each; at least three meanings are needed.

    * `common`: mean similarity of sentences that share neither language nor meaning
    * `lrds`, `sads`: eq. 8 and 9
    * `rest`: what is left of 1, the wording of one meaning in one language
    * `language_share`, `meaning_share`: LRDS and SADS as shares of what is not common, which anisotropy does not move
    * `alignment`: mean over pairs of languages of the correlation of their sentences across meanings
    """
    block_GnGn = similarity_SS.to(torch.float64).reshape(languages, -1, languages, len(similarity_SS) // languages)
    row_MGG = block_GnGn.sum(dim=3).permute(1, 0, 2)
    self_MGG = torch.diagonal(block_GnGn, dim1=1, dim2=3).permute(2, 0, 1)
    n = len(row_MGG)
    off_GG, same_GG = row_MGG.sum(dim=0) - self_MGG.sum(dim=0), self_MGG.sum(dim=0)
    lost_MGG = row_MGG + row_MGG.transpose(1, 2) - 2 * self_MGG
    whole = parts(off_GG / (n * (n - 1)), same_GG / n)
    without = parts((off_GG - lost_MGG) / ((n - 1) * (n - 2)), (same_GG - self_MGG) / (n - 1))
    return {name: from_leave_one_out(float(whole[name]), without[name]) for name in COMPONENTS}


def parts(different_GG: Tensor, same_GG: Tensor) -> dict[str, Tensor]:
    """The parts from the mean similarities (..., G, G) of sentences of different meanings, and of the same one."""
    within_G = torch.diagonal(different_GG, dim1=-2, dim2=-1)
    common = mean_of_pairs(different_GG)
    lrds = within_G.mean(dim=-1) - common
    sads = mean_of_pairs(same_GG) - common
    itself = torch.diagonal(same_GG, dim1=-2, dim2=-1).mean(dim=-1)
    spread_G = (torch.diagonal(same_GG, dim1=-2, dim2=-1) - within_G).clamp_min(0).sqrt()
    scale_GG = spread_G[..., :, None] * spread_G[..., None, :]
    correlation_GG = torch.where(scale_GG > 0, (same_GG - different_GG) / scale_GG.where(scale_GG > 0, 1), 0)
    return {
        "common": common,
        "lrds": lrds,
        "sads": sads,
        "rest": itself - common - lrds - sads,
        "language_share": share(lrds, itself - common),
        "meaning_share": share(sads, itself - common),
        "alignment": mean_of_pairs(correlation_GG),
    }


def mean_of_pairs(value_GG: Tensor) -> Tensor:
    """The mean over ordered pairs of different languages of (..., G, G)."""
    languages = value_GG.shape[-1]
    diagonal = torch.diagonal(value_GG, dim1=-2, dim2=-1).sum(dim=-1)
    return (value_GG.sum(dim=(-2, -1)) - diagonal) / (languages * (languages - 1))


def share(part: Tensor, whole: Tensor) -> Tensor:
    """A part of a whole; 0 where there is no whole."""
    return torch.where(whole > 0, part / whole.where(whole > 0, 1), 0)


def over_languages(similarity_SS: Tensor, languages: int) -> dict[str, Estimate]:
    """The same parts with the influence of every language instead: how they would vary with other languages."""
    block_GnGn = similarity_SS.to(torch.float64).reshape(languages, -1, languages, len(similarity_SS) // languages)
    n = block_GnGn.shape[1]
    same_GG = torch.diagonal(block_GnGn, dim1=1, dim2=3).sum(dim=-1)
    different_GG = (block_GnGn.sum(dim=(1, 3)) - same_GG) / (n * (n - 1))
    others = [[other for other in range(languages) if other != left_out] for left_out in range(languages)]
    without = [parts(different_GG[kept][:, kept], same_GG[kept][:, kept] / n) for kept in others]
    whole = parts(different_GG, same_GG / n)
    return {name: from_leave_one_out(float(whole[name]), torch.stack([part[name] for part in without])) for name in COMPONENTS}
