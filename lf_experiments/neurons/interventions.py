"""Interventions: what is done to neurons while the model reads, as values; the mirror of the capture (sec. 4.3).

To add one: its edit in `EDITS`, its value in `VALUES` if it needs one, and conf/intervention/<name>.yaml.

Shapes are written as suffixes: S sentences, B sequences of a batch, I interventions, N neurons of a layer. `L_` marks a list
over layers, which may differ in width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from lf_experiments.errors import InputError
from lf_experiments.extensions import load_named
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.sites import Change, Marks, Site

NONE = "none"
"""The name of the intervention that does nothing: the full model."""
RANDOM = "random"
"""The name of the interventions on random neurons, the controls."""

Edit = Callable[[Tensor, Tensor, Tensor | None, float], Tensor]
"""(neurons (..., N), where bool, value or None, dose) -> neurons, one by one; only those at `where` may change.

`where` and `value` are of the shape of the neurons."""


@dataclass(frozen=True)
class Intervention:
    """Something done to some neurons at every token."""

    name: str
    """`NONE`, the language whose key region it is, or `RANDOM`: the column `deactivated` of the tables."""
    where_L_N: list[Tensor]
    """The neurons, layer by layer, bool."""
    draw: int = 0
    """Which of several random draws; 0 for the others."""
    kind: str = "zero"
    """What is done: a key of `EDITS`, or `module:function` for an edit of one's own."""
    dose: float = 1.0
    """How much of it: 0 leaves every neuron as it is."""
    value_L_N: list[Tensor] | None = None
    """What the neurons are moved to, where `kind` needs it; float32."""
    matches: str = ""
    """Of a control that is like the key region of one language: that language, the only one it is evaluated on."""

    @property
    def size(self) -> int:
        """How many neurons it is about."""
        return sum(int(where_N.sum()) for where_N in self.where_L_N)

    @cached_property
    def content(self) -> str:
        """Names what is done to which neurons, the same under any name; empty for an edit of one's own, which may change."""
        if ":" in self.kind:
            return ""
        digest = hashlib.sha256()
        for where_N in self.where_L_N if self.size else ():
            digest.update(f"{self.kind} {self.dose} {len(where_N)} ".encode() + where_N.numpy().tobytes())
        for value_N in (self.size and self.value_L_N) or ():
            digest.update(value_N.numpy().tobytes())
        return digest.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: tensors of their own, since a view of a larger tensor would take all of it along."""
        values = self.value_L_N and [value_N.clone() for value_N in self.value_L_N]
        return {**vars(self), "where_L_N": [where_N.clone() for where_N in self.where_L_N], "value_L_N": values}


class Treated(NamedTuple):
    """Something to read, and the intervention that it is read under: a row of a batch."""

    item: Any
    under: Intervention


def nothing(widths: list[int]) -> Intervention:
    """The full model, with layers of so many neurons."""
    return Intervention(NONE, [torch.zeros(width, dtype=torch.bool) for width in widths])


def zero(h_N: Tensor, where_N: Tensor, _: Tensor | None, dose: float) -> Tensor:
    """The paper's deactivation (sec. 4.3): towards 0, at a dose of 1 exactly 0, whatever was there."""
    return torch.where(where_N, 0 if dose == 1 else h_N * (1 - dose), h_N)


def towards(h_N: Tensor, where_N: Tensor, value_N: Tensor | None, dose: float) -> Tensor:
    """From what they are towards a value, at a dose of 1 all the way."""
    if value_N is None:
        raise ValueError("neurons can only be moved towards a value, and the intervention has none")
    return torch.where(where_N, value_N if dose == 1 else torch.lerp(h_N, value_N.expand_as(h_N), dose), h_N)


def scale(h_N: Tensor, where_N: Tensor, _: Tensor | None, dose: float) -> Tensor:
    """Amplified: by a dose of 1 twice what they are, by -1 nothing."""
    return torch.where(where_N, h_N * (1 + dose), h_N)


EDITS: dict[str, Edit] = {"zero": zero, "mean": towards, "others": towards, "scale": scale, "steer": towards}
"""What can be done to neurons, by the name of its option in conf/intervention."""


def mean_over_languages(activations: Activations, _: str) -> list[Tensor]:
    """The mean activation of every neuron over all languages, each weighing the same, layer by layer (N,)."""
    return mean_of(activations, activations.language_codes)


def mean_over_others(activations: Activations, language: str) -> list[Tensor]:
    """The mean activation over the other languages than the region's; over all of them for random neurons."""
    return mean_of(activations, [code for code in activations.language_codes if code != language])


def mean_over_own(activations: Activations, language: str) -> list[Tensor]:
    """The mean activation over the language of the region; over all of them for random neurons."""
    codes = activations.language_codes
    return mean_of(activations, [language] if language in codes else codes)


def mean_of(activations: Activations, languages: list[str]) -> list[Tensor]:
    """The mean over some languages of the mean over all tokens of each, layer by layer (N,) in float32."""
    share_S = torch.zeros(len(activations.languages))
    for language in languages:
        of_language_S = torch.tensor([code == language for code in activations.languages])
        tokens_S = activations.tokens_S.where(of_language_S, 0)
        share_S += tokens_S / tokens_S.sum() / len(languages)
    return [share_S @ h_SN for h_SN in activations.h_L_SN]


VALUES: dict[str, Callable[[Activations, str], list[Tensor]]] = {
    "mean": mean_over_languages,
    "others": mean_over_others,
    "steer": mean_over_own,
}
"""What neurons are moved to, by the name of the intervention: from the activations, for the region of a language."""


def edit_of(kind: str) -> Edit:
    """The edit of this name. Raises `InputError` where there is none."""
    if ":" in kind:
        return load_named("intervention.name", __package__, kind)
    if kind not in EDITS:
        problem, remedy = "there is none of this name", f"choose among {', '.join(EDITS)}, or give your own as module:function"
        raise InputError("intervention.name", kind, problem, remedy)
    return EDITS[kind]


@contextmanager
def intervened(sites: list[Site], *by_row: Intervention) -> Iterator[None]:
    """Inside the block interventions act on every forward pass; after it the model is as before. Blocks can be nested.

    One acts on all sequences of every batch; several act each on its own, the first on the first sequence of a batch.
    A layer without a marked neuron is left alone, so that an empty region changes no bit.
    """
    distinct = list({id(intervention): intervention for intervention in by_row}.values())
    for intervention in distinct:
        refuse_misfit(intervention.where_L_N, [site.width for site in sites])
    acts = dict.fromkeys((intervention.kind, intervention.dose) for intervention in distinct)
    changes = {act: change_of(*act) for act in acts}
    handles = [
        bank.change(change, of_bank)
        for act, change in changes.items()
        if act[1]
        for site, marks in zip(sites, marks_by_layer(by_row if len(distinct) > 1 else distinct, *act), strict=True)
        for bank, of_bank in zip(site.banks, marks.split([bank.width for bank in site.banks]), strict=True)
        if of_bank.where_IN.any()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def refuse_misfit(where_L_N: list[Tensor], widths: list[int]) -> None:
    """Raise `ValueError` for the neurons of another model."""
    if len(where_L_N) != len(widths):
        raise ValueError(f"a region of {len(where_L_N)} layers does not fit a model of {len(widths)}")
    for layer, (where_N, width) in enumerate(zip(where_L_N, widths, strict=True)):
        if len(where_N) != width:
            raise ValueError(f"a region of {len(where_N)} neurons does not fit layer {layer}, which has {width}")


def marks_by_layer(by_row: Sequence[Intervention], kind: str, dose: float) -> Iterator[Marks]:
    """The neurons of every layer that are changed in this way; rows under an intervention of another kind or dose have none."""
    acting = list({id(each): each for each in by_row if (each.kind, each.dose) == (kind, dose)}.values())
    place = {id(intervention): number for number, intervention in enumerate(acting)}
    of_B = torch.tensor([place.get(id(intervention), len(acting)) for intervention in by_row])
    spare = int(len(acting) in of_B)  # a row of zeros for those that this does not act on
    for layer in range(len(acting[0].where_L_N)):
        where_IN = torch.stack([intervention.where_L_N[layer] for intervention in acting])
        values = [intervention.value_L_N[layer] for intervention in acting if intervention.value_L_N]
        value_IN = pad(torch.stack(values), (0, 0, 0, spare)) if len(values) == len(acting) else None
        yield Marks(pad(where_IN, (0, 0, 0, spare)), value_IN, of_B)


def change_of(kind: str, dose: float) -> Change:
    """An edit, at a dose."""
    edit = edit_of(kind)
    return lambda h_N, where_N, value_N: edit(h_N, where_N, value_N, dose)
