"""A fresh model of a specification."""

from __future__ import annotations

from typing import Any

from forgetmi.model.factory import build_own
from forgetmi.model.image_text import ImageText
from forgetmi.model.initial_weights import initialise
from forgetmi.model.net_module import NetModule
from forgetmi.model.own_spec import OwnSpec


def build(spec: Any, *, seed: int) -> Any:
    """A fresh model whose every weight is a function of the seed.

    Of the package's own architecture it is one of (seed, parameter name), see `initialise`; a user's own model is made
    by its factory under that seed.

    Args:
        spec: A `ModelSpec`, or an `OwnSpec`.
        seed: Root seed.

    Returns:
        An `ImageText`, or an `Adapted`: a `NetModule`.

    Raises:
        SpecError: The specification cannot be built.
    """
    model: NetModule
    if isinstance(spec, OwnSpec):
        model = build_own(spec, seed=seed)
    else:
        model = ImageText(spec)
        initialise(model, seed=seed)
    return model
