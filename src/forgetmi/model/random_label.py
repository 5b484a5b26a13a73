"""A wrong class for a label, drawn by a rule."""

from __future__ import annotations

import numpy as np

from forgetmi.core.task import Rule


def random_label(label: int, classes: int, *, rule: Rule, generator: np.random.Generator) -> int:
    """A label drawn by a rule, each allowed class with the same probability; -1 (unknown) stays.

    One generator state gives one shift, whatever the label: labels of a unit that shares a generator are shifted alike.

    Args:
        label: -1 to classes - 1.
        classes: Number of classes, >= 2.
        rule: other = not the label itself; neighbour = label - 1 or label + 1; any = each class.
        generator: Where the draw comes from.

    Examples:
        >>> random_label(0, 2, rule="other", generator=np.random.default_rng(0))
        1
        >>> random_label(-1, 2, rule="other", generator=np.random.default_rng(0))
        -1
    """
    match rule:
        case "other":
            drawn = (label + 1 + int(generator.integers(classes - 1))) % classes
        case "any":
            drawn = (label + int(generator.integers(classes))) % classes
        case "neighbour":
            step = 1 - 2 * int(generator.integers(2))
            drawn = label + step if 0 <= label + step < classes else label - step
    # An unknown label takes a draw, too, so that the generator ends in the same state.
    return label if label < 0 else drawn
