"""A fresh model of an architecture."""

from __future__ import annotations

from forgetmi.model.image_text import ImageText
from forgetmi.model.initial_weights import initialise
from forgetmi.model.spec import ModelSpec


def build(spec: ModelSpec, *, seed: int) -> ImageText:
    """A fresh model whose every weight is a function of (seed, parameter name); see `initialise`.

    Args:
        spec: Architecture.
        seed: Root seed.

    Raises:
        SpecError: The specification cannot be built.
    """
    model = ImageText(spec)
    initialise(model, seed=seed)
    return model
