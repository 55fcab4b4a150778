"""Scores of NaN or infinite logits are refused: a number format or weights that break down must not look like a result."""

from __future__ import annotations

from lf_experiments.errors import InputError
from lf_experiments.neurons.interventions import NONE, Intervention


def refuse_infinite(is_finite: bool, read: str, intervention: Intervention) -> None:
    """Raise `InputError` unless the scores of `read`, as in "the text in fr", are finite."""
    if not is_finite:
        raise InputError(
            "model.dtype",
            "(as loaded)",
            f"{in_words(intervention)} gives NaN or infinite logits on {read}",
            "use model.dtype=float32 or bfloat16; if it is that already, the weights are damaged"
            + ("" if intervention.name == NONE else ", or the intervention is too strong"),
        )


def in_words(intervention: Intervention) -> str:
    """The model under an intervention, as the subject of a sentence."""
    if intervention.name == NONE:
        return "the model"
    draw = f", draw {intervention.draw}" if intervention.draw else ""
    draw += f", matched to {intervention.matches}" if intervention.matches else ""
    return f"the model under the intervention {intervention.name} ({intervention.kind}, dose {intervention.dose:g}{draw})"
