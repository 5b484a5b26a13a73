"""The pulmonary vessels and the septal lines of a generated patient, drawn as lines on a grid.

The random draws do not depend on the fineness of the grid; only the number of points along each line does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.phantom.patient import Anatomy, Array
from forgetmi.cohort.phantom.shapes import Map

REACH = 1.2
"""The atlas covers [-REACH, REACH] in both directions, so that a moved film still finds anatomy at its edges."""
HILUM_X, HILUM_Y = 0.19, -0.05

_DEGREES = (-84, -62, -38, -12, 14, 36, 55, 72)  # the first vessels of each side, 0 = outwards
_GENERATIONS = 3
_SEPTAL_LINES = 11  # a side


@dataclass(frozen=True)
class _Branches:
    """One generation of b vessels; [b] each.

    Args:
        x, y: Where each begins.
        side: -1 or 1, the lung it lies in.
        angle: Direction, 0 = outwards.
        length, width: In half film widths.
    """

    x: Array
    y: Array
    side: Array
    angle: Array
    length: Array
    width: Array


def vessels_and_septal_lines(anatomy: Anatomy, k: int) -> tuple[Map, Map]:
    """Maps [k, k] of the pulmonary vessels (three generations from each hilum) and the septal lines at the bases."""
    draw = np.random.Generator(np.random.PCG64(anatomy.seed))
    pixel = 2 * REACH / k
    along = np.linspace(0, 1, max(16, k // 3))  # points along each line

    vessels: Map = np.zeros((k, k), dtype=np.float32)
    branches = _first_branches(anatomy, draw)
    for generation in range(_GENERATIONS):
        shadow, branches = _draw_generation(branches, generation, along, pixel, draw, k)
        vessels = vessels + shadow

    return vessels, _septal_lines(anatomy, along, pixel, draw, k)


def _first_branches(anatomy: Anatomy, draw: np.random.Generator) -> _Branches:
    """Eight vessels from each hilum. The order of the random draws is part of the generator."""
    count = 2 * len(_DEGREES)
    side = np.repeat([-1.0, 1.0], len(_DEGREES))
    angle = np.radians(np.tile(_DEGREES, 2)) + draw.normal(0, 0.09, count)
    x = side * (HILUM_X - 0.02 + draw.uniform(-0.03, 0.03, count))
    y = HILUM_Y + 0.09 * np.sin(angle) + draw.uniform(-0.03, 0.03, count)

    # Horizontal vessels are shorter
    length = np.where(np.abs(angle) < 0.4, 0.42, 0.58) * draw.uniform(0.85, 1.15, count)
    width = np.full(count, 0.024 * anatomy.vessels)
    return _Branches(x, y, side, angle, length, width)


def _draw_generation(
    branches: _Branches,
    generation: int,
    along: Array,
    pixel: float,
    draw: np.random.Generator,
    k: int,
) -> tuple[Map, _Branches]:
    """The shadow of one generation, and the generation that branches off it."""
    points = len(along)
    count = len(branches.angle)

    # The course of each vessel: its direction bends evenly from beginning to end
    heading = branches.angle[:, None] + draw.normal(0, 0.35, (count, 1)) * along
    step = branches.length[:, None] / points
    px = branches.x[:, None] + branches.side[:, None] * np.cumsum(np.cos(heading), axis=1) * step
    py = branches.y[:, None] + np.cumsum(np.sin(heading), axis=1) * step
    taper = branches.width[:, None] * (1 - 0.55 * along)

    # Attenuation is proportional to the vessel's thickness, its shadow to thickness times breadth
    sharpest = 0.6 if generation else 0.5
    blur = max(0.42 * float(branches.width.mean()) / pixel, sharpest)
    weight = 7.5 * taper * taper * step / (pixel * pixel)
    shadow = splat(px, py, weight, k, blur)

    # Three branches off each vessel, to alternating sides
    fraction = draw.uniform(0.25, 0.9, (count, 3))
    turn = (
        draw.uniform(0.35, 0.8, fraction.shape)
        * np.array([1, -1, 1])
        * draw.choice([-1, 1], (count, 1))
    )
    vessel = np.arange(count)[:, None]
    point = np.rint(fraction * (points - 1)).astype(np.int64)
    length = branches.length[:, None] * draw.uniform(0.35, 0.6, fraction.shape)
    following = _Branches(
        x=px[vessel, point].ravel(),
        y=py[vessel, point].ravel(),
        side=np.repeat(branches.side, 3),
        angle=(heading[vessel, point] + turn).ravel(),
        length=length.ravel(),
        width=(0.8 * taper[vessel, point]).ravel(),
    )
    return shadow, following


def _septal_lines(
    anatomy: Anatomy, along: Array, pixel: float, draw: np.random.Generator, k: int
) -> Map:
    """Short lines that run inwards from the chest wall (Kerley B)."""
    points = len(along)
    count = 2 * _SEPTAL_LINES

    outward = np.repeat([-1.0, 1.0], _SEPTAL_LINES)[:, None]
    px = outward * (anatomy.width - draw.uniform(0.01, 0.12, (count, 1)) - 0.11 * along)
    py = draw.uniform(0.0, 0.5, (count, 1)) + draw.normal(0, 0.02, (count, 1)) * along

    # Height of a line's peak; fainter where a pixel is broader than the line
    blur = max(0.006 / pixel, 0.5)
    height = min(1.0, 0.015 / pixel) * blur * np.sqrt(2 * np.pi)
    weight = np.full(px.shape, height * 0.11 / points / pixel)
    return splat(px, py, weight, k, blur)


def splat(px: Array, py: Array, weight: Array, k: int, sigma: float) -> Map:
    """Drop weighted points onto a grid, each shared by its four neighbours, and blur them.

    Args:
        px, py: Coordinates of the points, in [-REACH, REACH]; those outside count at the edge.
        weight: Weight of each point.
        k: Side of the grid.
        sigma: Standard deviation of the blur, in grid points.
    """
    from scipy.ndimage import gaussian_filter  # imported late: SciPy takes long to load

    # Column and row of each point, whole part and fraction
    u = np.clip((px.ravel() / REACH + 1) * k / 2 - 0.5, 0, k - 1.001)
    v = np.clip((py.ravel() / REACH + 1) * k / 2 - 0.5, 0, k - 1.001)
    row, column = v.astype(np.int64), u.astype(np.int64)
    fv, fu = v - row, u - column

    # Its four neighbours and their shares of the weight
    corner = row * k + column
    below = (row + 1) * k + column
    flat = np.concatenate([corner, corner + 1, below, below + 1])
    w = weight.ravel()
    share = np.concatenate(
        [w * (1 - fv) * (1 - fu), w * (1 - fv) * fu, w * fv * (1 - fu), w * fv * fu]
    )

    grid: npt.NDArray[np.float32] = np.bincount(flat, share, minlength=k * k).astype(np.float32)
    return np.asarray(gaussian_filter(grid.reshape(k, k), sigma, truncate=3))
