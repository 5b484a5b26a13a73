"""The maps of attenuation that make up one generated patient, evaluated on a grid of any fineness.

Coordinates: x runs from -1 (left edge of the film, the patient's right) to 1, y from -1 (top) to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.phantom.patient import Anatomy

Map = npt.NDArray[np.floating[Any]]

REACH = 1.2
"""The atlas covers [-REACH, REACH] in both directions, so that a moved film still finds anatomy at its edges."""
_HILUM_X, _HILUM_Y = 0.19, -0.05


@dataclass(frozen=True)
class Atlas:
    """Maps [k, k] of one patient; attenuation 1 is white.

    Args:
        body: Everything that is always there.
        portable: Added in a bedside (AP) film: a magnified heart and wider mediastinum.
        upper, lower: Vessels above and below the hilum.
        lung: Lung area, 0 to 1.
        hila, septal, basal, wings: Signs of edema at full strength.
        fluid: Height above the dome, in half film widths, of the lower lung (for effusions).
        wall: Depth below the chest wall and apex (for a pneumothorax).
        x, y: Coordinates.
    """

    body: Map
    portable: Map
    upper: Map
    lower: Map
    lung: Map
    hila: Map
    septal: Map
    basal: Map
    wings: Map
    fluid: Map
    wall: Map
    x: Map
    y: Map


@lru_cache(maxsize=4)
def _grid(k: int) -> tuple[Map, Map]:
    axis = ((np.arange(k, dtype=np.float32) + 0.5) / k * 2 - 1) * REACH
    x, y = np.meshgrid(axis, axis)
    return x.astype(np.float32), y.astype(np.float32)


def _soft(distance: Map, width: float) -> Map:
    """0 far below, 1 far above zero; an algebraic sigmoid, cheaper than exp."""
    scaled = distance * (1 / width)
    return 0.5 + 0.5 * scaled / np.sqrt(1 + scaled * scaled)


def _bump(distance: Map, width: float) -> Map:
    """A bell of height 1 and the given standard deviation."""
    scaled = distance * (1 / width)
    return np.exp(-0.5 * scaled * scaled)


def _ball(x: Map, y: Map, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Map:
    """Thickness of an ellipsoid seen from the front: 1 in the middle, 0 outside."""
    c, s = float(np.cos(turn)), float(np.sin(turn))  # NumPy scalars would make the maps float64
    u = ((x - cx) * c + (y - cy) * s) / rx
    v = ((y - cy) * c - (x - cx) * s) / ry
    return np.sqrt(np.maximum(1 - u * u - v * v, 0))


def build(a: Anatomy, k: int) -> Atlas:
    """Evaluate a patient's anatomy on a grid of k x k points."""
    x, y = _grid(k)
    pixel = 2 * REACH / k
    edge = max(0.018, 0.7 * pixel)
    mid = a.curve * np.cos(2.2 * y)  # the spine's bend
    left = (x > 0).astype(np.float32)
    ax = np.abs(x)

    dome = a.base - a.elevation * (1 - left) - a.dome * (1 - ((ax - 0.36) / 0.36) ** 2)
    depth = np.clip((y - a.top) / (a.base + 0.1 - a.top), 0, 1)
    rise = 1 - depth
    outer = 0.34 + (a.width - 0.34) * np.sqrt(1 - rise * rise * rise)
    rise2 = rise * rise
    inner = 0.07 + 0.03 * left * depth + 0.24 * rise2 * rise2 * rise2 * rise2
    lung = (
        _soft(y - a.top, 2 * edge)
        * _soft(ax - inner, 1.5 * edge)
        * _soft(outer - ax, edge)
        * _soft(dome - y, edge)
    )
    chest = np.sqrt(np.clip((outer - ax) * (1 / 0.3), 0.0, 1))  # lungs are thinner towards the wall
    air = lung * (0.55 + 0.45 * chest)

    soft = _soft_tissue(a, x, y, ax, dome)
    bone = (
        _ribs(a, ax, y, outer, left, edge)
        + _shoulders(a, x, y, ax, edge)
        + _spine(a, x - mid, y, edge)
    )
    body = soft + bone - 0.47 * a.air * air
    above = _soft(dome + 0.02 - y, 1.5 * edge)
    heart = _heart(a, x, y, 1.0) * above
    body += heart + _mediastinum(a, x - 0.6 * mid, y, ax, edge) + _devices(a, x, y, edge)
    if a.nodule:
        body += 0.2 * _ball(x, y, a.nodule_x, a.nodule_y, a.nodule, a.nodule) * lung
    vessels, septal = _branches(a, k)
    upper = _soft(_HILUM_Y + 0.04 - y, 0.08)
    vessels = vessels * lung
    hx, hy = ax - _HILUM_X, y - _HILUM_Y - 0.05 * (1 - left)
    hila = _bump(np.sqrt(hx * hx * 1.6 + hy * hy * 0.5), 0.085) * (ax > 0.05)
    body += 0.13 * hila * lung
    low = _soft(y - 0.12, 0.1) * lung
    reach = np.sqrt(((ax - 0.33) / 0.24) ** 2 + ((y + 0.02) / 0.3) ** 2)
    return Atlas(
        body=body,
        portable=_heart(a, x, y, 1.13) * above - heart,
        upper=vessels * upper,
        lower=vessels * (1 - upper),
        lung=lung,
        hila=hila * lung,
        septal=septal * lung * _soft(ax - 0.36, 0.08),
        basal=low,
        wings=_soft(1 - reach, 0.35) * lung,
        fluid=dome - y - 0.22 * np.clip((ax - 0.42) / 0.34, 0, 1) ** 2,
        wall=np.minimum(outer - ax, 1.2 * (y - a.top)),
        x=x,
        y=y,
    )


def _soft_tissue(a: Anatomy, x: Map, y: Map, ax: Map, dome: Map) -> Map:
    neck = ax * (1 / 0.27)
    skin = -0.98 + 0.2 * ax * ax - 0.75 * np.exp(-neck * neck * np.sqrt(neck))
    below = np.clip((y - skin) * (1 / 0.35), 0, 1)
    side = np.clip(1 - (ax / (1.12 * a.stout**0.5)) ** 8, 0, 1)
    tissue = 0.66 * a.stout**0.4 * np.sqrt(below * (2 - below)) * side
    abdomen = _soft(y - dome, 0.03)
    tissue += 0.16 * abdomen * side * (1 - 0.25 * _soft(x, 0.25))
    if a.breast:
        for place in (-0.44, 0.46):
            tissue += 0.09 * a.breast * _ball(x, y, place, 0.3, 0.36, 0.3 + 0.05 * a.breast)
    if a.bubble:
        wide, high = 0.09 + 0.11 * a.bubble, 0.04 + 0.06 * a.bubble
        tissue -= 0.34 * abdomen * _ball(x, y, 0.4, a.base - a.dome + 0.13, wide, high)
    return tissue


def _ribs(a: Anatomy, ax: Map, y: Map, outer: Map, left: Map, edge: float) -> Map:
    """All ribs at once: each is the same curve, shifted down by one distance."""
    t = (ax - 0.07) / (outer + 0.03 - 0.07)
    bend = np.sqrt(np.clip(1 - t, 0, 1))
    inside = _soft(1 - t, 0.05) * _soft(ax - 0.07, edge)

    def band(
        curve: Map, distance: float, half: float, slope: Map, span: tuple[float, float]
    ) -> Map:
        phase = (y - curve) * (1 / distance) + a.rib_phase + 0.08 * left
        off = np.abs(phase - np.round(phase)) * (distance / slope)
        shaft = _soft(half - off, max(0.008, 0.5 * edge)) * (
            0.65 + 0.35 * np.minimum(off / half, 1.3)
        )
        return shaft * _soft(y - curve - span[0], 0.03) * _soft(span[1] - (y - curve), 0.03)

    steep = np.sqrt(1 + (0.5 * a.rib_slope / np.maximum(bend, 0.2)) ** 2)
    behind = band(a.top - a.rib_slope * bend, a.ribs, 0.026, steep, (0.04, 1.27))
    front_distance = a.ribs * 1.22
    front = band(
        a.top + 0.12 + 0.42 * bend,
        front_distance,
        0.032,
        np.sqrt(1 + (0.3 / np.maximum(bend, 0.3)) ** 2),
        (-0.1, 0.92),
    )
    front *= _soft(t - 0.36, 0.06)
    return a.rib_density * inside * (0.12 * behind + 0.07 * front)


def _shoulders(a: Anatomy, x: Map, y: Map, ax: Map, edge: float) -> Map:
    along = np.clip((ax - 0.06) / 0.7, 0, 1.3)
    line = a.clavicle - 0.17 * along + a.clavicle_bend * np.sin(2 * np.pi * along)
    half = 0.026 + 0.012 * (1 - along)
    clavicle = (
        _soft(half - np.abs(y - line), 0.6 * edge) * _soft(ax - 0.06, edge) * _soft(0.8 - ax, edge)
    )
    blade = ax - 0.7 - 0.2 * np.clip(y + 0.45, -0.3, 0.6)  # medial border of the scapula
    scapula = (
        _soft(blade, 0.8 * edge)
        * (0.06 + 0.08 * _bump(blade, 0.025))
        * _soft(y + 0.66, 0.05)
        * _soft(0.05 - y, 0.06)
    )
    humerus = 0.16 * _ball(ax, y, 0.99, -0.57, 0.14, 0.15) + 0.12 * _soft(
        0.07 - np.abs(ax - 1.03), edge
    ) * (y > -0.5)
    return 0.15 * clavicle + scapula + humerus


def _spine(a: Anatomy, x: Map, y: Map, edge: float) -> Map:
    column = _soft(0.085 + 0.012 * y - np.abs(x), edge)
    level = (y + 0.07 * a.rib_phase) * (1 / (0.125 + 0.02 * np.clip(y, -1, 1)))
    disc = np.abs(level - np.round(level))
    vertebra = (
        0.085
        - 0.05 * _bump(disc, 0.12)
        + 0.05 * _bump(np.abs(x) - 0.05, 0.015) * _bump(disc - 0.4, 0.12)
    )
    return column * vertebra


def _heart(a: Anatomy, x: Map, y: Map, magnify: float) -> Map:
    r = a.heart * magnify
    floor = a.base - 0.5 * a.dome
    ventricle = _ball(x, y, 0.10 + 0.055 * r, floor - 0.2 * r, 0.37 * r, 0.235 * r, a.tilt)
    atrium = _ball(x, y, -0.07 * r, floor - 0.22 * r, 0.165 * r, 0.235 * r)
    outflow = _ball(x, y, 0.08, floor - 0.42 * r, 0.13 * r, 0.2 * r)
    return 0.4 * np.maximum(np.maximum(ventricle, atrium), outflow) ** 0.6


def _mediastinum(a: Anatomy, x: Map, y: Map, ax: Map, edge: float) -> Map:
    half = a.waist + 0.05 * _bump(y + 0.62, 0.12) + a.unfolding * _bump(y + 0.2, 0.2) * (x < 0)
    column = 0.22 * _soft(half - np.abs(x), 1.2 * edge) * _soft(a.base - y, 0.1)
    knob = 0.24 * _ball(x, y, 0.06 + a.knob, -0.3, a.knob, 1.15 * a.knob)
    aorta = (
        0.07
        * _soft(0.03 - np.abs(x - 0.1 - 0.3 * a.knob), edge)
        * _soft(y + 0.3, 0.05)
        * _soft(a.base - y, 0.1)
    )
    trachea = _soft(0.042 - np.abs(x + 0.012), 0.8 * edge) * _soft(-0.17 - y, 0.03)
    fork = np.clip(y + 0.19, 0, 1) * (0.9 + 0.7 * (x > 0))
    bronchi = (
        _soft(0.03 - np.abs(ax - fork), 0.8 * edge) * _soft(y + 0.19, 0.03) * _soft(-y - 0.02, 0.03)
    )
    return column + knob + aorta - 0.13 * trachea - 0.07 * bronchi


def _devices(a: Anatomy, x: Map, y: Map, edge: float) -> Map:
    thin = max(0.007, 0.45 * edge)
    metal = np.zeros_like(x)
    if a.pacemaker:
        can = np.maximum(np.abs(x - 0.52) / 0.105, np.abs(y + 0.5 - 0.2 * (x - 0.52)) / 0.085)
        metal += 0.45 * _soft(1 - can, 0.12)
        u = np.clip((0.44 - x) / 0.5, 0, 1)
        lead = -0.56 - 0.1 * np.sin(np.pi * u)
        metal += 0.3 * _bump(y - lead, thin) * _soft(0.46 - x, edge) * _soft(x + 0.06, edge)
        v = np.clip((y + 0.56) / 0.85, 0, 1)
        metal += (
            0.3
            * _bump(x + 0.07 - 0.3 * v * v * v, thin)
            * _soft(y + 0.56, edge)
            * _soft(0.29 - y, edge)
        )
    if a.wires:
        level = (y + 0.42) * (1 / 0.15)
        near = (level - np.clip(np.round(level), 0, 4)) * 0.15
        ring = np.sqrt((x - 0.008) ** 2 + (1.5 * near) ** 2)
        metal += 0.28 * _bump(ring - 0.034, thin)
    if a.port:
        v = np.clip((y + 0.62) / 0.6, 0, 1)
        metal += (
            0.22
            * _bump(x + 0.09 + 0.2 * (1 - v) ** 3, thin)
            * _soft(y + 0.62, edge)
            * _soft(-0.04 - y, edge)
        )
        metal += 0.4 * _soft(0.045 - np.sqrt((x + 0.33) ** 2 + (y + 0.56) ** 2), edge)
    return metal


def _branches(a: Anatomy, k: int) -> tuple[Map, Map]:
    """The pulmonary vessels (three generations from each hilum) and the short septal lines at the bases.

    The draws do not depend on k; only the number of points along each line does.
    """
    draw = np.random.Generator(np.random.PCG64(a.seed))
    pixel = 2 * REACH / k
    points = max(16, k // 3)
    s = np.linspace(0, 1, points)
    side = np.repeat([-1.0, 1.0], 8)
    angle = np.radians(np.tile([-84, -62, -38, -12, 14, 36, 55, 72], 2)) + draw.normal(0, 0.09, 16)
    x = side * (_HILUM_X - 0.02 + draw.uniform(-0.03, 0.03, 16))
    y = _HILUM_Y + 0.09 * np.sin(angle) + draw.uniform(-0.03, 0.03, 16)
    length = np.where(np.abs(angle) < 0.4, 0.42, 0.58) * draw.uniform(0.85, 1.15, 16)
    width = np.full(16, 0.024 * a.vessels)
    vessels: Map = np.zeros((k, k), dtype=np.float32)
    for generation in range(3):
        heading = angle[:, None] + draw.normal(0, 0.35, (len(angle), 1)) * s
        step = length[:, None] / points
        px = x[:, None] + side[:, None] * np.cumsum(np.cos(heading), axis=1) * step
        py = y[:, None] + np.cumsum(np.sin(heading), axis=1) * step
        taper = width[:, None] * (1 - 0.55 * s)
        blur = max(0.42 * float(width.mean()) / pixel, 0.6 if generation else 0.5)
        # attenuation is proportional to the vessel's thickness, its shadow to thickness times breadth
        vessels = vessels + _splat(px, py, 7.5 * taper * taper * step / (pixel * pixel), k, blur)
        at = draw.uniform(0.25, 0.9, (len(angle), 3))
        turn = (
            draw.uniform(0.35, 0.8, at.shape)
            * np.array([1, -1, 1])
            * draw.choice([-1, 1], (len(angle), 1))
        )
        rows, here = np.arange(len(angle))[:, None], np.rint(at * (points - 1)).astype(np.int64)
        x, y, angle = (
            px[rows, here].ravel(),
            py[rows, here].ravel(),
            (heading[rows, here] + turn).ravel(),
        )
        width = (0.8 * taper[rows, here]).ravel()
        length = (length[:, None] * draw.uniform(0.35, 0.6, at.shape)).ravel()
        side = np.repeat(side, 3)
    outward = np.repeat([-1.0, 1.0], 11)[:, None]
    px = outward * (a.width - draw.uniform(0.01, 0.12, (22, 1)) - 0.11 * s)
    py = draw.uniform(0.0, 0.5, (22, 1)) + draw.normal(0, 0.02, (22, 1)) * s
    blur = max(0.006 / pixel, 0.5)
    height = (
        min(1.0, 0.015 / pixel) * blur * np.sqrt(2 * np.pi)
    )  # of a line's peak; fainter where a pixel is broader
    return vessels, _splat(px, py, np.full(px.shape, height * 0.11 / points / pixel), k, blur)


def _splat(
    px: npt.NDArray[np.float64],
    py: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    k: int,
    sigma: float,
) -> Map:
    """Drop weighted points onto the grid, each shared by its four neighbours, and blur them."""
    from scipy.ndimage import gaussian_filter  # imported late: SciPy takes long to load

    u = np.clip((px.ravel() / REACH + 1) * k / 2 - 0.5, 0, k - 1.001)
    v = np.clip((py.ravel() / REACH + 1) * k / 2 - 0.5, 0, k - 1.001)
    i, j = v.astype(np.int64), u.astype(np.int64)
    fv, fu = v - i, u - j
    w = weight.ravel()
    flat = np.concatenate([i * k + j, i * k + j + 1, (i + 1) * k + j, (i + 1) * k + j + 1])
    share = np.concatenate(
        [w * (1 - fv) * (1 - fu), w * (1 - fv) * fu, w * fv * (1 - fu), w * fv * fu]
    )
    grid = np.bincount(flat, share, minlength=k * k).reshape(k, k).astype(np.float32)
    return np.asarray(gaussian_filter(grid, sigma, truncate=3))
