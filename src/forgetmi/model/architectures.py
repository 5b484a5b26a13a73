"""Models of the package's own kinds, by the kind of their specification."""

from __future__ import annotations

from typing import Any

from forgetmi.model.composed import Composed
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.image_text import ImageText


def blank(spec: Any) -> ImageText | Composed:
    """A model whose weights are yet to be filled in.

    Args:
        spec: A `ModelSpec` or a resolved `ComposedSpec`.
    """
    return Composed(spec) if isinstance(spec, ComposedSpec) else ImageText(spec)
