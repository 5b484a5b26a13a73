"""Soft-edged shapes on a grid of coordinates, from which the maps of a generated patient are put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.floating[Any]]


def step(distance: Map, width: float) -> Map:
    """0 far below, 1 far above zero; an algebraic sigmoid, cheaper than exp."""
    scaled = distance * (1 / width)
    return 0.5 + 0.5 * scaled / np.sqrt(1 + scaled * scaled)


def bump(distance: Map, width: float) -> Map:
    """A bell of height 1 and the given standard deviation."""
    scaled = distance * (1 / width)
    return np.exp(-0.5 * scaled * scaled)


def ball(x: Map, y: Map, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Map:
    """Thickness of an ellipsoid seen from the front: 1 in the middle, 0 outside.

    Args:
        x, y: Coordinates.
        cx, cy: Centre.
        rx, ry: Radii.
        turn: Turn of the axes in radians.
    """
    # Python numbers: NumPy scalars would make the maps float64
    c, s = float(np.cos(turn)), float(np.sin(turn))

    # Coordinates along the axes, in radii
    u = ((x - cx) * c + (y - cy) * s) / rx
    v = ((y - cy) * c - (x - cx) * s) / ry
    return np.sqrt(np.maximum(1 - u * u - v * v, 0))
