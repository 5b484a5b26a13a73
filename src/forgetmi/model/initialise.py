"""A fresh model of a specification."""

from __future__ import annotations

from typing import Any

from forgetmi.model.architectures import blank
from forgetmi.model.composed import fresh_state
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.factory import build_own
from forgetmi.model.initial_weights import initialise
from forgetmi.model.net_module import NetModule
from forgetmi.model.own_spec import OwnSpec


def build(spec: Any, *, seed: int) -> Any:
    """A fresh model whose every weight is a function of the seed.

    Of the package's own architecture it is one of (seed, parameter name), see `initialise`; of a composed one, one of
    (seed, module), see `forgetmi.model.composed.fresh_state`; a user's own model is made by its factory under that
    seed.

    Args:
        spec: A `ModelSpec`, a resolved `ComposedSpec`, or an `OwnSpec`.
        seed: Root seed.

    Returns:
        An `ImageText`, a `Composed` or an `Adapted`: a `NetModule`.

    Raises:
        SpecError: The specification cannot be built, or pretrained weights cannot be read.
    """
    if isinstance(spec, OwnSpec):
        return build_own(spec, seed=seed)

    model: NetModule = blank(spec)
    if isinstance(spec, ComposedSpec):
        model.load_state_dict(fresh_state(spec, seed=seed))
    else:
        initialise(model, seed=seed)
    return model
