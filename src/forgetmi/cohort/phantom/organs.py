"""Attenuation of soft tissue, bones, heart, mediastinum and devices of a generated patient.

Every function takes the coordinates `x` and `y` of a grid (or `ax`, the distance from the midline) and returns a map;
`edge` is the softness of an edge. Numbers are lengths in half film widths, or attenuations where 1 is white.
"""

from __future__ import annotations

import numpy as np

from forgetmi.cohort.phantom.patient import Anatomy
from forgetmi.cohort.phantom.shapes import Map, ball, bump, step


def soft_tissue(anatomy: Anatomy, x: Map, y: Map, ax: Map, dome: Map) -> Map:
    """Neck, trunk, abdomen, breasts and the gastric bubble; `dome` is the height of the diaphragm."""
    # The trunk, thinner towards the skin and the sides
    neck = ax * (1 / 0.27)
    skin = -0.98 + 0.2 * ax * ax - 0.75 * np.exp(-neck * neck * np.sqrt(neck))
    below = np.clip((y - skin) * (1 / 0.35), 0, 1)
    side = np.clip(1 - (ax / (1.12 * anatomy.stout**0.5)) ** 8, 0, 1)
    tissue = 0.66 * anatomy.stout**0.4 * np.sqrt(below * (2 - below)) * side

    # The abdomen, denser on the side of the liver
    abdomen = step(y - dome, 0.03)
    tissue += 0.16 * abdomen * side * (1 - 0.25 * step(x, 0.25))

    if anatomy.breast:
        height = 0.3 + 0.05 * anatomy.breast
        for place in (-0.44, 0.46):
            tissue += 0.09 * anatomy.breast * ball(x, y, place, 0.3, 0.36, height)

    if anatomy.bubble:
        wide = 0.09 + 0.11 * anatomy.bubble
        high = 0.04 + 0.06 * anatomy.bubble
        centre = anatomy.base - anatomy.dome + 0.13
        tissue -= 0.34 * abdomen * ball(x, y, 0.4, centre, wide, high)

    return tissue


def ribs(anatomy: Anatomy, ax: Map, y: Map, outer: Map, left: Map, edge: float) -> Map:
    """All ribs at once: each is the same curve, shifted down by one distance; `outer` is the chest wall."""
    # From the spine (0) to the chest wall (1)
    t = (ax - 0.07) / (outer + 0.03 - 0.07)
    bend = np.sqrt(np.clip(1 - t, 0, 1))
    inside = step(1 - t, 0.05) * step(ax - 0.07, edge)

    def band(
        curve: Map, distance: float, half: float, slope: Map, span: tuple[float, float]
    ) -> Map:
        """Ribs of one kind: half a rib's breadth, and how far down from the curve they go."""
        phase = (y - curve) * (1 / distance) + anatomy.rib_phase + 0.08 * left
        off = np.abs(phase - np.round(phase)) * (distance / slope)

        # The cortex is brighter than the middle
        shaft = step(half - off, max(0.008, 0.5 * edge))
        shaft = shaft * (0.65 + 0.35 * np.minimum(off / half, 1.3))
        return shaft * step(y - curve - span[0], 0.03) * step(span[1] - (y - curve), 0.03)

    # Posterior ribs fall gently to the side
    behind_curve = anatomy.top - anatomy.rib_slope * bend
    behind_slope = np.sqrt(1 + (0.5 * anatomy.rib_slope / np.maximum(bend, 0.2)) ** 2)
    behind = band(behind_curve, anatomy.ribs, 0.026, behind_slope, (0.04, 1.27))

    # Anterior ribs fall steeply to the middle, where they turn to cartilage
    front_curve = anatomy.top + 0.12 + 0.42 * bend
    front_slope = np.sqrt(1 + (0.3 / np.maximum(bend, 0.3)) ** 2)
    front = band(front_curve, anatomy.ribs * 1.22, 0.032, front_slope, (-0.1, 0.92))
    front *= step(t - 0.36, 0.06)

    return anatomy.rib_density * inside * (0.12 * behind + 0.07 * front)


def shoulders(anatomy: Anatomy, y: Map, ax: Map, edge: float) -> Map:
    """Clavicles, scapulae and the heads of the humeri."""
    along = np.clip((ax - 0.06) / 0.7, 0, 1.3)
    line = anatomy.clavicle - 0.17 * along + anatomy.clavicle_bend * np.sin(2 * np.pi * along)
    half = 0.026 + 0.012 * (1 - along)
    clavicle = step(half - np.abs(y - line), 0.6 * edge)
    clavicle = clavicle * step(ax - 0.06, edge) * step(0.8 - ax, edge)

    # The scapula, brightest at its medial border
    blade = ax - 0.7 - 0.2 * np.clip(y + 0.45, -0.3, 0.6)
    scapula = (
        step(blade, 0.8 * edge)
        * (0.06 + 0.08 * bump(blade, 0.025))
        * step(y + 0.66, 0.05)
        * step(0.05 - y, 0.06)
    )

    head = 0.16 * ball(ax, y, 0.99, -0.57, 0.14, 0.15)
    shaft = 0.12 * step(0.07 - np.abs(ax - 1.03), edge) * (y > -0.5)
    humerus = head + shaft
    return 0.15 * clavicle + scapula + humerus


def spine(anatomy: Anatomy, x: Map, y: Map, edge: float) -> Map:
    """Vertebrae with their pedicles, and the discs between them."""
    column = step(0.085 + 0.012 * y - np.abs(x), edge)
    level = (y + 0.07 * anatomy.rib_phase) * (1 / (0.125 + 0.02 * np.clip(y, -1, 1)))
    disc = np.abs(level - np.round(level))
    pedicles = 0.05 * bump(np.abs(x) - 0.05, 0.015) * bump(disc - 0.4, 0.12)
    vertebra = 0.085 - 0.05 * bump(disc, 0.12) + pedicles
    return column * vertebra


def heart(anatomy: Anatomy, x: Map, y: Map, magnify: float) -> Map:
    """Left ventricle, right atrium and outflow tract; `magnify` 1 = as in a standing film."""
    r = anatomy.heart * magnify
    floor = anatomy.base - 0.5 * anatomy.dome
    ventricle = ball(x, y, 0.10 + 0.055 * r, floor - 0.2 * r, 0.37 * r, 0.235 * r, anatomy.tilt)
    atrium = ball(x, y, -0.07 * r, floor - 0.22 * r, 0.165 * r, 0.235 * r)
    outflow = ball(x, y, 0.08, floor - 0.42 * r, 0.13 * r, 0.2 * r)
    return 0.4 * np.maximum(np.maximum(ventricle, atrium), outflow) ** 0.6


def mediastinum(anatomy: Anatomy, x: Map, y: Map, ax: Map, edge: float) -> Map:
    """The mediastinum's width, the aorta, and the air in trachea and main bronchi."""
    waist = anatomy.waist + 0.05 * bump(y + 0.62, 0.12)
    half = waist + anatomy.unfolding * bump(y + 0.2, 0.2) * (x < 0)
    column = 0.22 * step(half - np.abs(x), 1.2 * edge) * step(anatomy.base - y, 0.1)

    # The aortic knob and the descending aorta
    knob = 0.24 * ball(x, y, 0.06 + anatomy.knob, -0.3, anatomy.knob, 1.15 * anatomy.knob)
    aorta = (
        0.07
        * step(0.03 - np.abs(x - 0.1 - 0.3 * anatomy.knob), edge)
        * step(y + 0.3, 0.05)
        * step(anatomy.base - y, 0.1)
    )

    # Airways
    trachea = step(0.042 - np.abs(x + 0.012), 0.8 * edge) * step(-0.17 - y, 0.03)
    fork = np.clip(y + 0.19, 0, 1) * (0.9 + 0.7 * (x > 0))
    bronchi = step(0.03 - np.abs(ax - fork), 0.8 * edge)
    bronchi = bronchi * step(y + 0.19, 0.03) * step(-y - 0.02, 0.03)

    return column + knob + aorta - 0.13 * trachea - 0.07 * bronchi


def devices(anatomy: Anatomy, x: Map, y: Map, edge: float) -> Map:
    """Pacemaker, sternal wires and port, where the patient has them."""
    thin = max(0.007, 0.45 * edge)
    metal = np.zeros_like(x)

    if anatomy.pacemaker:
        # The can below the left clavicle
        tilted = np.abs(y + 0.5 - 0.2 * (x - 0.52))
        can = np.maximum(np.abs(x - 0.52) / 0.105, tilted / 0.085)
        metal += 0.45 * step(1 - can, 0.12)

        # The lead: first to the midline, then down into the heart
        u = np.clip((0.44 - x) / 0.5, 0, 1)
        across = -0.56 - 0.1 * np.sin(np.pi * u)
        metal += 0.3 * bump(y - across, thin) * step(0.46 - x, edge) * step(x + 0.06, edge)
        v = np.clip((y + 0.56) / 0.85, 0, 1)
        down = x + 0.07 - 0.3 * v * v * v
        metal += 0.3 * bump(down, thin) * step(y + 0.56, edge) * step(0.29 - y, edge)

    if anatomy.wires:
        # Five rings, one above the other
        level = (y + 0.42) * (1 / 0.15)
        near = (level - np.clip(np.round(level), 0, 4)) * 0.15
        ring = np.sqrt((x - 0.008) ** 2 + (1.5 * near) ** 2)
        metal += 0.28 * bump(ring - 0.034, thin)

    if anatomy.port:
        # The catheter to the vena cava, and the chamber on the right
        v = np.clip((y + 0.62) / 0.6, 0, 1)
        catheter = x + 0.09 + 0.2 * (1 - v) ** 3
        metal += 0.22 * bump(catheter, thin) * step(y + 0.62, edge) * step(-0.04 - y, edge)
        chamber = np.sqrt((x + 0.33) ** 2 + (y + 0.56) ** 2)
        metal += 0.4 * step(0.045 - chamber, edge)

    return metal
