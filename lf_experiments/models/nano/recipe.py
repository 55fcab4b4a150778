"""What a recipe must say so that a model can be grown from it."""

from __future__ import annotations

from lf_experiments.config.checks import at_least
from lf_experiments.config.schema import Recipe
from lf_experiments.errors import InputError

LEAST_VOCABULARY = 258
"""Entries of the smallest byte-level tokenizer: the bytes, padding, and the end of a text."""

LEAST = {"layers": 1, "heads": 1, "window": 2, "batch_size": 1, "vocabulary": LEAST_VOCABULARY}
"""The smallest value of each size."""


def check_recipe(recipe: Recipe) -> None:
    """Raise `InputError` for a recipe that no model can be grown from."""
    for name, least in LEAST.items():
        at_least(f"model.recipe.{name}", getattr(recipe, name), least)
    if not recipe.steps or min(recipe.steps) < 0:
        raise InputError(
            "model.recipe.steps", recipe.steps, "it names no step to publish", "give steps from 0 on, such as [0,100]"
        )
    if recipe.hidden_size < 1 or recipe.hidden_size % recipe.heads:
        raise InputError(
            "model.recipe.hidden_size",
            recipe.hidden_size,
            f"it does not split into {recipe.heads} heads",
            f"give a multiple of {recipe.heads}",
        )
    for name in ("cued", "translated", "switching"):
        at_least(f"model.recipe.{name}", getattr(recipe, name), 0)
    if recipe.cued + recipe.translated + recipe.switching > 1:
        raise InputError(
            "model.recipe.cued",
            recipe.cued,
            f"with translated={recipe.translated} and switching={recipe.switching} the shares of stories exceed 1",
            "give shares that add up to no more than 1",
        )
