"""A recipe in fewer epochs, with a learning rate that rises and falls in its own way."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from forgetmi.model.recipe import Recipe

# constant: the full learning rate throughout; recipe: its warm-up and decay, as shares of the fewer steps
Schedule = Literal["constant", "recipe"]


def passes(chosen: int | None, recipe: Recipe, *, share: float) -> int:
    """How many epochs a method trains for: as many as were chosen, or a share of the original's, at least one.

    Args:
        chosen: Passes over the retain set; None = a share of the recipe's.
        recipe: The original's.
        share: Of the recipe's epochs, above 0 and at most 1.

    Examples:
        >>> passes(None, Recipe(epochs=16), share=0.25), passes(None, Recipe(epochs=80), share=0.25)
        (4, 20)
        >>> passes(3, Recipe(epochs=80), share=0.25)
        3
    """
    return max(1, round(share * recipe.epochs)) if chosen is None else chosen


def shortened(recipe: Recipe, *, epochs: int, warmup: float, decay: float) -> Recipe:
    """The recipe with another number of epochs, warm-up and decay.

    Args:
        recipe: The original's.
        epochs: Passes over the retain set, >= 0.
        warmup, decay: Shares of the steps, 0 to 1; at most 1 together.

    Examples:
        >>> short = shortened(Recipe(), epochs=6, warmup=0.0, decay=0.5)
        >>> short.epochs, short.decay, short.lr == Recipe().lr
        (6, 0.5, True)
    """
    return replace(recipe, epochs=epochs, warmup=warmup, decay=decay)


def scheduled(recipe: Recipe, *, epochs: int, schedule: Schedule) -> Recipe:
    """The recipe in other epochs, at its full learning rate throughout or with its own warm-up and decay.

    Args:
        recipe: The original's.
        epochs: Passes over the retain set, >= 0.
        schedule: Which.

    Examples:
        >>> scheduled(Recipe(warmup=0.1), epochs=4, schedule="constant").warmup
        0.0
        >>> scheduled(Recipe(warmup=0.1), epochs=4, schedule="recipe").warmup
        0.1
    """
    if schedule == "recipe":
        return replace(recipe, epochs=epochs)
    return shortened(recipe, epochs=epochs, warmup=0.0, decay=0.0)
