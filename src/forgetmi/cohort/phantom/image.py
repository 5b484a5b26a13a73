"""Procedural frontal chest radiographs: a patient's attenuation maps, added up, moved and exposed.

Only the number of pixels depends on the size, never the anatomy or what an image shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.phantom.atlas import REACH, Atlas, Map, build
from forgetmi.cohort.phantom.patient import CAUSE_BIAS, GRADE_CUTS, Array, Patient
from forgetmi.core.seeding import numpy_generator

_DENSITY = 1.6  # atlas points per film pixel along a side: 1.33 for each pixel, after REACH

# What full strength adds, in grey levels where 1 is the whole range (vessels: relative to the patient's own).
UPPER_VESSELS, LOWER_VESSELS, HILA = 0.8, -0.25, 0.10
SEPTAL, BASAL = 0.09, 0.07
WINGS, FLUID = 0.22, 0.22
CONSOLIDATION, HAZE, PNEUMOTHORAX = 0.2, 0.06, 0.16
LOW_NOISE, GRAIN = 0.03, 0.035
"""Standard deviations of the slowly varying and of the pixel noise."""


@dataclass(frozen=True)
class Signs:
    """How strongly each of n images shows what; [n] each, 0 = not at all, 1 = fully.

    Args:
        congestion: Cephalised vessels and large hila.
        interstitial: Septal (Kerley B) lines and basal haze.
        alveolar: Bat-wing opacities.
        effusion: Fluid above the domes.
        consolidation: A patch at the study's place.
        haze: A slight veil over both lungs.
        pneumothorax: Air around one lung.
        side: -1 or 1: effusion and pneumothorax on that side only; 0: effusion on both.
    """

    congestion: Array
    interstitial: Array
    alveolar: Array
    effusion: Array
    consolidation: Array
    haze: Array
    pneumothorax: Array
    side: float = 0.0


def signs_of(patient: Patient, *, ordinal: bool) -> Signs:
    """What a patient's images show, given the noisy severity they carry: ramps around the grades' cuts."""
    z = patient.image_severity
    nothing = np.zeros(len(z))
    if ordinal:
        first, second, third = (np.clip((z[:, 0] - cut + 0.55) / 1.1, 0, 1.4) for cut in GRADE_CUTS)
        return Signs(
            first,
            second,
            third,
            third,
            patient.consolidation[patient.study],
            patient.haze[patient.study],
            nothing,
        )
    score = z + np.asarray(CAUSE_BIAS)
    ranked = np.sort(score, axis=1)
    lead = score - np.where(score == ranked[:, -1:], ranked[:, -2:-1], ranked[:, -1:])
    edema, pneumonia, effusion, air = np.clip(0.5 + lead / 1.6, 0, 1.2).T
    return Signs(
        edema,
        edema,
        0.6 * edema,
        effusion,
        pneumonia,
        nothing,
        air,
        side=1.0 if patient.anatomy.nodule_x > 0 else -1.0,
    )


def render(patient: Patient, signs: Signs, *, size: int, seed: int) -> npt.NDArray[np.uint8]:
    """All n images of one patient.

    Args:
        patient: Whom to show.
        signs: What to show; see `signs_of`.
        size: Side in pixels, 16 or more.
        seed: Root of position, exposure and noise.

    Returns:
        uint8 [n, size, size].
    """
    n = len(patient.study)
    atlas = build(patient.anatomy, round(_DENSITY * size))
    place = patient.place[patient.study]
    films = np.empty((n, size, size), dtype=np.float32)
    for i in range(n):
        portable = bool(patient.portable[patient.study[i]])
        draw = numpy_generator(seed, "exposure", i)
        films[i] = _expose(
            _shadow(atlas, signs, i, portable=portable, place=place[i]),
            size,
            draw,
            portable=portable,
        )
    return np.clip(films * 255 + 0.5, 0, 255).astype(np.uint8)


def _shadow(atlas: Atlas, signs: Signs, i: int, *, portable: bool, place: Array) -> Map:
    """Attenuation of image i before it is moved and exposed."""

    def of(strength: Array, scale: float) -> np.float32:
        return np.float32(scale * strength[i])

    field = atlas.body + atlas.upper * (1 + of(signs.congestion, UPPER_VESSELS))
    field += atlas.lower * (1 + of(signs.congestion, LOWER_VESSELS))
    field += atlas.hila * of(signs.congestion, HILA)
    if portable:
        field += atlas.portable
    if signs.interstitial[i] > 0:
        field += atlas.septal * of(signs.interstitial, SEPTAL) + atlas.basal * of(
            signs.interstitial, BASAL
        )
    if signs.alveolar[i] > 0:
        field += atlas.wings * of(signs.alveolar, WINGS)
    if signs.effusion[i] > 0:
        level = of(signs.effusion, 0.2) - 0.06
        fluid = np.clip((level - atlas.fluid) * np.float32(1 / 0.08), 0, 1) * atlas.lung
        if signs.side:
            fluid *= atlas.x * np.float32(signs.side) > 0
        field += fluid * of(signs.effusion, FLUID)
    if signs.consolidation[i] > 0:
        u, v = (
            (atlas.x - np.float32(place[0])) * np.float32(1 / 0.17),
            (atlas.y - np.float32(place[1])) * np.float32(5),
        )
        field += (
            np.exp(-((u * u + v * v) ** 2)) * atlas.lung * of(signs.consolidation, CONSOLIDATION)
        )
    if signs.haze[i] > 0:
        field += atlas.lung * of(signs.haze, HAZE)
    if signs.pneumothorax[i] > 0:
        gap = of(signs.pneumothorax, 0.2)
        rim = np.clip((gap - atlas.wall) * np.float32(1 / 0.02), 0, 1) * atlas.lung
        line = np.clip(1 - np.abs(atlas.wall - gap) * np.float32(1 / 0.025), 0, 1) * atlas.lung
        field += (
            (0.5 * line - rim)
            * (atlas.x * np.float32(signs.side) > 0)
            * of(signs.pneumothorax, PNEUMOTHORAX)
        )
    return field


@lru_cache(maxsize=4)
def _film_axis(size: int) -> Map:
    return ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)


@lru_cache(maxsize=4)
def _slow_basis(size: int, knots: int = 6) -> Map:
    """[size, knots] smooth hats that turn a coarse grid into a slowly varying field."""
    away = np.abs((_film_axis(size)[:, None] + 1) / 2 * (knots - 1) - np.arange(knots))
    return np.where(away < 1, 0.5 + 0.5 * np.cos(np.pi * away), 0).astype(np.float32)


def _expose(field: Map, size: int, draw: np.random.Generator, *, portable: bool) -> Map:
    """Move, expose and collimate one film; every draw before the grain is the same at every size."""
    axis = _film_axis(size)
    angle, grow = draw.normal(0, 0.03), np.exp(draw.normal(0.02, 0.035))
    shift_x, shift_y = draw.normal(0, 0.035, 2)
    breath = draw.normal(-0.03 if portable else 0.03, 0.03)
    gamma, contrast, light = (
        np.exp(draw.normal(0, 0.12)),
        draw.normal(1, 0.07),
        draw.normal(0, 0.025),
    )
    slow = draw.normal(0, LOW_NOISE, (6, 6)).astype(np.float32)
    shutter = np.where(draw.random(4) < 0.3, draw.uniform(0.9, 0.99, 4), 1.5)
    marker, marker_x, marker_y = draw.random(), draw.uniform(0.72, 0.88), draw.uniform(-0.9, -0.7)
    tilt = draw.normal(0, 0.02)

    c, s = np.float32(np.cos(angle) * grow), np.float32(np.sin(angle) * grow)
    px = axis[None, :] * c - axis[:, None] * s + np.float32(shift_x)
    py = axis[:, None] * c + axis[None, :] * s + np.float32(shift_y)
    py -= np.float32(breath) * np.clip(
        (py + 0.3) * np.float32(1 / 0.7), 0, 1
    )  # a deep breath lowers the domes
    k = field.shape[0]
    at = np.stack([py, px]) * np.float32(k / (2 * REACH)) + np.float32(k / 2 - 0.5)
    from scipy.ndimage import map_coordinates  # imported late: SciPy takes long to load

    film = map_coordinates(field, at, order=1, mode="nearest", output=np.float32, prefilter=False)

    film = (
        np.float32(0.56)
        + (film - np.float32(0.5)) * np.float32(1.25 * contrast)
        + np.float32(light)
    )
    basis = _slow_basis(size)
    film += basis @ slow @ basis.T
    film = np.maximum(film, np.float32(0.02)) ** np.float32(gamma)
    film /= np.sqrt(np.sqrt(1 + film**4))  # a film saturates
    if marker < 0.6:
        film = np.maximum(film, _marker(axis, marker_x, marker_y))
    film += (
        np.float32(GRAIN) * draw.standard_normal(film.shape, dtype=np.float32) * (0.4 + 0.6 * film)
    )
    blade = np.float32(tilt) * axis
    soft = np.float32(size / 4)
    for bound, along in zip(
        shutter,
        (
            axis[None, :] + blade[:, None],
            -axis[None, :] - blade[:, None],
            axis[:, None] - blade[None, :],
            blade[None, :] - axis[:, None],
        ),
        strict=True,
    ):
        if bound < 1.2:
            film = film * np.clip((np.float32(bound) - along) * soft + np.float32(0.5), 0.03, 1)
    return film


def _marker(axis: Map, x: float, y: float) -> Map:
    """A lead letter L beside the patient's left shoulder."""
    u, v = axis[None, :] - np.float32(x), axis[:, None] - np.float32(y)
    stem = (np.abs(u) < 0.016) & (np.abs(v) < 0.06)
    foot = (np.abs(u - 0.03) < 0.045) & (np.abs(v - 0.05) < 0.016)
    return np.float32(0.95) * (stem | foot)
