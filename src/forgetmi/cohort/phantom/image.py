"""Procedural frontal chest radiographs: a patient's attenuation maps, added up, moved and exposed.

Only the number of pixels depends on the size, never the anatomy or what an image shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.phantom.atlas import Atlas, build
from forgetmi.cohort.phantom.patient import CAUSE_BIAS, GRADE_CUTS, Array, Patient
from forgetmi.cohort.phantom.shapes import Map
from forgetmi.cohort.phantom.vessels import REACH
from forgetmi.core.seeding import numpy_generator

_DENSITY = 1.6  # atlas points per film pixel along a side: 1.33 for each pixel, after REACH

# What full strength adds, in grey levels where 1 is the whole range (vessels: relative to the patient's own).
UPPER_VESSELS, LOWER_VESSELS, HILA = 0.8, -0.25, 0.10
SEPTAL, BASAL = 0.09, 0.07
WINGS, FLUID = 0.22, 0.22
CONSOLIDATION, HAZE, PNEUMOTHORAX = 0.2, 0.06, 0.16
ATELECTASIS, THICKENING, FRACTURE = 0.2, 0.2, 0.3
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
        atelectasis: A band across the lower lungs; None in cohorts without it, as the next two.
        thickening: A bright rim along the chest wall.
        fracture: A bright knot at the side of a rib.
    """

    congestion: Array
    interstitial: Array
    alveolar: Array
    effusion: Array
    consolidation: Array
    haze: Array
    pneumothorax: Array
    side: float = 0.0
    atelectasis: Array | None = None
    thickening: Array | None = None
    fracture: Array | None = None


def signs_of(patient: Patient, *, ordinal: bool) -> Signs:
    """What a patient's images show, given the noisy severity they carry: ramps around the grades' cuts."""
    if ordinal:
        return _signs_of_grades(patient)
    return _signs_of_causes(patient)


def _signs_of_grades(patient: Patient) -> Signs:
    """Signs of edema that set in one after another, a ramp around each cut between grades."""
    severity = patient.image_severity[:, 0]
    ramps = [np.clip((severity - cut + 0.55) / 1.1, 0, 1.4) for cut in GRADE_CUTS]
    first, second, third = ramps
    return Signs(
        congestion=first,
        interstitial=second,
        alveolar=third,
        effusion=third,
        consolidation=patient.consolidation[patient.study],
        haze=patient.haze[patient.study],
        pneumothorax=np.zeros(len(severity)),
    )


def _signs_of_causes(patient: Patient) -> Signs:
    """Signs of four causes, each as strong as its lead over the best of the others."""
    score = patient.image_severity + np.asarray(CAUSE_BIAS)
    ranked = np.sort(score, axis=1)
    best, runner_up = ranked[:, -1:], ranked[:, -2:-1]
    lead = score - np.where(score == best, runner_up, best)
    edema, pneumonia, effusion, air = np.clip(0.5 + lead / 1.6, 0, 1.2).T

    nothing = np.zeros(len(score))
    return Signs(
        congestion=edema,
        interstitial=edema,
        alveolar=0.6 * edema,
        effusion=effusion,
        consolidation=pneumonia,
        haze=nothing,
        pneumothorax=air,
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

    films = np.empty((n, size, size), dtype=np.float32)
    for image, study in enumerate(patient.study):
        portable = bool(patient.portable[study])
        shadow = _shadow(atlas, signs, image, portable=portable, place=patient.place[study])
        draw = numpy_generator(seed, "exposure", image)
        films[image] = _expose(shadow, size, draw, portable=portable)

    # Grey levels 0 to 255, rounded
    return np.clip(films * 255 + 0.5, 0, 255).astype(np.uint8)


def _shadow(atlas: Atlas, signs: Signs, image: int, *, portable: bool, place: Array) -> Map:
    """Attenuation of one image before it is moved and exposed; all maps stay float32."""

    def scaled(strength: Array, full: float) -> np.float32:
        return np.float32(full * strength[image])

    # Congestion: vessels of the upper lung widen, those of the lower lung narrow, the hila grow
    field = atlas.body + atlas.upper * (1 + scaled(signs.congestion, UPPER_VESSELS))
    field += atlas.lower * (1 + scaled(signs.congestion, LOWER_VESSELS))
    field += atlas.hila * scaled(signs.congestion, HILA)
    if portable:
        field += atlas.portable

    # Edema, interstitial and alveolar
    if signs.interstitial[image] > 0:
        septal = atlas.septal * scaled(signs.interstitial, SEPTAL)
        field += septal + atlas.basal * scaled(signs.interstitial, BASAL)
    if signs.alveolar[image] > 0:
        field += atlas.wings * scaled(signs.alveolar, WINGS)

    # Pleural fluid above the dome, to a level that rises with its strength
    if signs.effusion[image] > 0:
        level = scaled(signs.effusion, 0.2) - 0.06
        fluid = np.clip((level - atlas.fluid) * np.float32(1 / 0.08), 0, 1) * atlas.lung
        if signs.side:
            fluid *= atlas.x * np.float32(signs.side) > 0
        field += fluid * scaled(signs.effusion, FLUID)

    # Consolidation: a patch with a flat top and soft edges
    if signs.consolidation[image] > 0:
        u = (atlas.x - np.float32(place[0])) * np.float32(1 / 0.17)
        v = (atlas.y - np.float32(place[1])) * np.float32(5)
        patch = np.exp(-((u * u + v * v) ** 2)) * atlas.lung
        field += patch * scaled(signs.consolidation, CONSOLIDATION)
    if signs.haze[image] > 0:
        field += atlas.lung * scaled(signs.haze, HAZE)

    # Pneumothorax: a rim of air without markings, and the pleural line that bounds it
    if signs.pneumothorax[image] > 0:
        gap = scaled(signs.pneumothorax, 0.2)
        rim = np.clip((gap - atlas.wall) * np.float32(1 / 0.02), 0, 1) * atlas.lung
        distance = np.abs(atlas.wall - gap)
        line = np.clip(1 - distance * np.float32(1 / 0.025), 0, 1) * atlas.lung
        on_side = atlas.x * np.float32(signs.side) > 0
        field += (0.5 * line - rim) * on_side * scaled(signs.pneumothorax, PNEUMOTHORAX)

    # Atelectasis: a band across the lower lungs
    if signs.atelectasis is not None and signs.atelectasis[image] > 0:
        band = np.exp(-(((atlas.y - np.float32(0.3)) * np.float32(1 / 0.045)) ** 2)) * atlas.lung
        field += band * scaled(signs.atelectasis, ATELECTASIS)

    # Pleural thickening: a bright rim; a fracture: a bright knot on the other side
    if signs.thickening is not None and signs.thickening[image] > 0:
        rim = np.clip(1 - atlas.wall * np.float32(1 / 0.07), 0, 1) * atlas.lung
        field += rim * scaled(signs.thickening, THICKENING)
    if signs.fracture is not None and signs.fracture[image] > 0:
        u = (atlas.x + np.float32(0.6 * signs.side)) * np.float32(1 / 0.07)
        v = (atlas.y - np.float32(0.1)) * np.float32(1 / 0.05)
        field += np.exp(-(u * u + v * v)) * scaled(signs.fracture, FRACTURE)

    return field


@dataclass(frozen=True)
class _Exposure:
    """How one film was taken; drawn in the order of the fields, the same at every size.

    Args:
        angle, grow: Turn in radians, and magnification.
        shift_x, shift_y: Shift in half film widths.
        breath: How deep the breath was; positive lowers the domes.
        gamma, contrast, light: The exposure.
        slow: [6, 6] knots of the slowly varying noise.
        shutter: [4] where each blade of the collimator stands; above 1.2 = outside the film.
        marker, marker_x, marker_y: Whether and where a lead letter lies.
        tilt: Turn of the collimator.
    """

    angle: float
    grow: float
    shift_x: float
    shift_y: float
    breath: float
    gamma: float
    contrast: float
    light: float
    slow: Map
    shutter: Array
    marker: bool
    marker_x: float
    marker_y: float
    tilt: float


def _draw_exposure(draw: np.random.Generator, *, portable: bool) -> _Exposure:
    """Position, exposure and collimation. The order of the random draws is part of the generator."""
    # Position
    angle = draw.normal(0, 0.03)
    grow = np.exp(draw.normal(0.02, 0.035))
    shift_x, shift_y = draw.normal(0, 0.035, 2)
    breath = draw.normal(-0.03 if portable else 0.03, 0.03)

    # Exposure
    gamma = np.exp(draw.normal(0, 0.12))
    contrast = draw.normal(1, 0.07)
    light = draw.normal(0, 0.025)
    slow = draw.normal(0, LOW_NOISE, (6, 6)).astype(np.float32)

    # Collimator and marker
    shutter = np.where(draw.random(4) < 0.3, draw.uniform(0.9, 0.99, 4), 1.5)
    marker = draw.random() < 0.6
    marker_x, marker_y = draw.uniform(0.72, 0.88), draw.uniform(-0.9, -0.7)
    tilt = draw.normal(0, 0.02)

    return _Exposure(
        angle=angle,
        grow=grow,
        shift_x=shift_x,
        shift_y=shift_y,
        breath=breath,
        gamma=gamma,
        contrast=contrast,
        light=light,
        slow=slow,
        shutter=shutter,
        marker=marker,
        marker_x=marker_x,
        marker_y=marker_y,
        tilt=tilt,
    )


def _expose(field: Map, size: int, draw: np.random.Generator, *, portable: bool) -> Map:
    """Move, expose and collimate one film; every draw before the grain is the same at every size."""
    axis = _film_axis(size)
    exposure = _draw_exposure(draw, portable=portable)
    film = _moved(field, axis, exposure)

    # Contrast and light, slowly varying noise, gamma
    scaled = (film - np.float32(0.5)) * np.float32(1.25 * exposure.contrast)
    film = np.float32(0.56) + scaled + np.float32(exposure.light)
    basis = _slow_basis(size)
    film += basis @ exposure.slow @ basis.T
    film = np.maximum(film, np.float32(0.02)) ** np.float32(exposure.gamma)
    film /= np.sqrt(np.sqrt(1 + film**4))  # a film saturates

    # The marker lies on the film, under the grain
    if exposure.marker:
        film = np.maximum(film, _marker(axis, exposure.marker_x, exposure.marker_y))
    grain = np.float32(GRAIN) * draw.standard_normal(film.shape, dtype=np.float32)
    film += grain * (0.4 + 0.6 * film)

    return _collimated(film, axis, exposure)


def _moved(field: Map, axis: Map, exposure: _Exposure) -> Map:
    """The atlas where each pixel of the film sees it: turned, magnified, shifted, at the depth of the breath."""
    from scipy.ndimage import map_coordinates  # imported late: SciPy takes long to load

    # Where each pixel lies on the patient
    c = np.float32(np.cos(exposure.angle) * exposure.grow)
    s = np.float32(np.sin(exposure.angle) * exposure.grow)
    x = axis[None, :] * c - axis[:, None] * s + np.float32(exposure.shift_x)
    y = axis[:, None] * c + axis[None, :] * s + np.float32(exposure.shift_y)

    # A deep breath lowers the domes
    lower = np.clip((y + 0.3) * np.float32(1 / 0.7), 0, 1)
    y -= np.float32(exposure.breath) * lower

    # The same in points of the atlas
    points = field.shape[0]
    scale = np.float32(points / (2 * REACH))
    position = np.stack([y, x]) * scale + np.float32(points / 2 - 0.5)
    return map_coordinates(
        field, position, order=1, mode="nearest", output=np.float32, prefilter=False
    )


def _collimated(film: Map, axis: Map, exposure: _Exposure) -> Map:
    """The film with the collimator's blades over its edges."""
    blade = np.float32(exposure.tilt) * axis
    sides = (
        axis[None, :] + blade[:, None],
        -axis[None, :] - blade[:, None],
        axis[:, None] - blade[None, :],
        blade[None, :] - axis[:, None],
    )

    # A blade above 1.2 lies outside the film; the others have an edge of a few pixels
    softness = np.float32(film.shape[0] / 4)
    for bound, along in zip(exposure.shutter, sides, strict=True):
        if bound < 1.2:
            film = film * np.clip((np.float32(bound) - along) * softness + np.float32(0.5), 0.03, 1)
    return film


@lru_cache(maxsize=4)
def _film_axis(size: int) -> Map:
    """Coordinates of the pixels along one side of the film, -1 to 1."""
    return ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)


@lru_cache(maxsize=4)
def _slow_basis(size: int, knots: int = 6) -> Map:
    """[size, knots] smooth hats that turn a coarse grid into a slowly varying field."""
    position = (_film_axis(size)[:, None] + 1) / 2 * (knots - 1)
    distance = np.abs(position - np.arange(knots))
    return np.where(distance < 1, 0.5 + 0.5 * np.cos(np.pi * distance), 0).astype(np.float32)


def _marker(axis: Map, x: float, y: float) -> Map:
    """A lead letter L over the patient's left shoulder."""
    u = axis[None, :] - np.float32(x)
    v = axis[:, None] - np.float32(y)
    stem = (np.abs(u) < 0.016) & (np.abs(v) < 0.06)
    foot = (np.abs(u - 0.03) < 0.045) & (np.abs(v - 0.05) < 0.016)
    return np.float32(0.95) * (stem | foot)
