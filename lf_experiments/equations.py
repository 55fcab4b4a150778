"""The paper's numbered equations, (5) to (14), as pure functions of tensors.

Shapes are written as suffixes: S samples (sentences), T tokens, L layers (the paper's M), N neurons of a layer,
G languages (the paper's L), R samples of one language (the paper's n).
"""

import torch
from torch import Tensor

NORM_ROWS = 128
"""Samples whose squares are in memory at once."""
HALVES = (torch.bfloat16, torch.float16)
SUMS_IN_FLOAT32 = "dtype" in torch.ops.aten.bmm.overloads()
"""Whether torch multiplies such matrices on a GPU into float32, which the sums are accumulated in."""


def mean_activation(h_STN: Tensor, mask_ST: Tensor) -> Tensor:
    """Eq. (5), sec. 3.1: the mean activation of every neuron over the tokens of each sample, (S, N) in float32.

    `mask_ST` is 1 at the tokens of a sample and 0 at padding. The sum is accumulated in float32 whatever the dtype of `h_STN`.
    """
    weight_S1T = mask_ST.unsqueeze(1)
    if h_STN.is_cuda and h_STN.dtype in HALVES and SUMS_IN_FLOAT32:  # nothing is written but the sums
        total_S1N = torch.bmm(weight_S1T.to(h_STN.dtype), h_STN, out_dtype=torch.float32)
    else:
        total_S1N = torch.bmm(weight_S1T.to(torch.float32), h_STN.to(torch.float32))
    return total_S1N.squeeze(1) / mask_ST.sum(dim=1, keepdim=True)


def activation_norm(h_LSN) -> Tensor:  # type: ignore[no-untyped-def]  # any iterable of layers, which torch has no name for
    """The norm in eq. (6), sec. 3.1: of the concatenated layer activations of each sample, (S,) in float64."""
    return torch.stack([*map(squared_norm, h_LSN)]).sum(dim=0).sqrt()


def squared_norm(h_SN: Tensor) -> Tensor:
    """The sum of the squares of each row, (S,) in float64."""
    return torch.cat([part_SN.to(torch.float64).square().sum(dim=1) for part_SN in h_SN.split(NORM_ROWS)])


def activation_vectors(h_SN: Tensor, norm_S: Tensor) -> Tensor:
    """Eq. (6), sec. 3.1: the part of the unit activation vectors that lies in one layer, (S, N) in float64.

    A sample that activates nothing stays 0.
    """
    return h_SN / norm_S.to(torch.float64).where(norm_S > 0, 1)[:, None]


def similarity_map(gram_SS: Tensor) -> Tensor:
    """Eq. (7), sec. 3.1: the cosine of every pair of samples, (S, S), from the inner products of their activations.

    A sample that activates nothing is like no sample: its similarities are 0.
    """
    norm_S = gram_SS.diagonal().sqrt()
    inverse_S = torch.where(norm_S > 0, 1 / norm_S, 0)
    return gram_SS * inverse_S[:, None] * inverse_S[None, :]


def lrds(similarity_SS: Tensor, language_S: Tensor, meaning_S: Tensor) -> float:
    """Eq. (8), sec. 3.2: Linguistic Regions Development Score, between -2 and 2; lower is more language-agnostic.

    Mean similarity of the pairs that share the language minus that of the pairs that do not, over pairs of different
    meanings only.
    """
    same_language_SS = language_S[:, None] == language_S[None, :]
    different_meaning_SS = meaning_S[:, None] != meaning_S[None, :]
    within = similarity_SS[same_language_SS & different_meaning_SS]
    across = similarity_SS[~same_language_SS & different_meaning_SS]
    return float(mean(within) - mean(across))


def sads(similarity_SS: Tensor, language_S: Tensor, meaning_S: Tensor) -> float:
    """Eq. (9), sec. 3.2: Semantic Alignment Development Score, between -2 and 2; higher is more semantic.

    Mean similarity of the pairs that share the meaning minus that of the pairs that do not, over pairs of different
    languages only.
    """
    different_language_SS = language_S[:, None] != language_S[None, :]
    same_meaning_SS = meaning_S[:, None] == meaning_S[None, :]
    aligned = similarity_SS[different_language_SS & same_meaning_SS]
    unaligned = similarity_SS[different_language_SS & ~same_meaning_SS]
    return float(mean(aligned) - mean(unaligned))


def mean(values: Tensor) -> Tensor:
    """The mean, accumulated in float64: a similarity map of 900 sentences has 810,000 entries."""
    return values.mean(dtype=torch.float64)


def average_similarity(similarity_RR: Tensor) -> float:
    """Eq. (10), sec. 3.3: the mean similarity over the n(n-1)/2 pairs of different samples of one language."""
    samples = len(similarity_RR)
    off_diagonal = similarity_RR.sum(dtype=torch.float64) - similarity_RR.diagonal().sum(dtype=torch.float64)
    return float(off_diagonal / (samples * (samples - 1)))


def contribution_scores(a_RN: Tensor) -> Tensor:
    """Eq. (11), sec. 3.3: the contribution of every neuron to the average similarity of one language, (N,) in float64.

    The sum over pairs i < j of a_i a_j in closed form, 1/2 ((sum a)^2 - sum a^2). `a_RN` holds the neurons of one or more
    layers, already scaled by eq. (6). Summed over all neurons and times 2/(n(n-1)) it is eq. (10).
    """
    a_RN = a_RN.to(torch.float64)
    return (a_RN.sum(dim=0) ** 2 - (a_RN**2).sum(dim=0)) / 2


def z_scores(score_GN: Tensor) -> Tensor:
    """Eq. (12)-(14), sec. 3.3: how exceptional each contribution is among the languages, (G, N) in float64.

    The standard deviation is the population's, so no z exceeds sqrt(G - 1). A neuron that does not vary over languages
    has z = 0 for all.
    """
    return standardised(score_GN.to(torch.float64))


def standardised(score_GN: Tensor) -> Tensor:
    """`z_scores` of one or more arrays (..., G, N), in their own number format."""
    mean_1N = score_GN.mean(dim=-2, keepdim=True)
    deviation_1N = score_GN.std(dim=-2, correction=0, keepdim=True)
    varies_1N = deviation_1N > torch.finfo(score_GN.dtype).eps * mean_1N.abs() * score_GN.shape[-2]
    return torch.where(varies_1N, (score_GN - mean_1N) / deviation_1N.where(varies_1N, 1), 0)
