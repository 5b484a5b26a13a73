"""The maps of attenuation that make up one generated patient, evaluated on a grid of any fineness.

Coordinates: x runs from -1 (left edge of the film, the patient's right) to 1, y from -1 (top) to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forgetmi.cohort.phantom.organs import (
    devices,
    heart,
    mediastinum,
    ribs,
    shoulders,
    soft_tissue,
    spine,
)
from forgetmi.cohort.phantom.patient import Anatomy
from forgetmi.cohort.phantom.shapes import Map, ball, bump, step
from forgetmi.cohort.phantom.vessels import (
    HILUM_X,
    HILUM_Y,
    REACH,
    vessels_and_septal_lines,
)


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


def build(anatomy: Anatomy, k: int) -> Atlas:
    """Evaluate a patient's anatomy on a grid of k x k points."""
    x, y = _grid(k)
    ax = np.abs(x)
    left = (x > 0).astype(np.float32)  # the patient's left is on the right of the film
    edge = max(0.018, 0.7 * (2 * REACH / k))  # softness of an edge: never below a grid point

    # The lungs: between diaphragm, apex, mediastinum and chest wall
    raised = anatomy.base - anatomy.elevation * (1 - left)
    dome = raised - anatomy.dome * (1 - ((ax - 0.36) / 0.36) ** 2)
    depth = np.clip((y - anatomy.top) / (anatomy.base + 0.1 - anatomy.top), 0, 1)
    rise = 1 - depth
    outer = 0.34 + (anatomy.width - 0.34) * np.sqrt(1 - rise * rise * rise)
    rise2 = rise * rise
    inner = 0.07 + 0.03 * left * depth + 0.24 * rise2 * rise2 * rise2 * rise2
    lung = (
        step(y - anatomy.top, 2 * edge)
        * step(ax - inner, 1.5 * edge)
        * step(outer - ax, edge)
        * step(dome - y, edge)
    )

    # The air in them; lungs are thinner towards the wall
    chest = np.sqrt(np.clip((outer - ax) * (1 / 0.3), 0.0, 1))
    air = lung * (0.55 + 0.45 * chest)

    # Soft tissue and bones; the spine and what lies in front of it bend together
    mid = anatomy.curve * np.cos(2.2 * y)
    soft = soft_tissue(anatomy, x, y, ax, dome)
    bone = (
        ribs(anatomy, ax, y, outer, left, edge)
        + shoulders(anatomy, y, ax, edge)
        + spine(anatomy, x - mid, y, edge)
    )
    body = soft + bone - 0.47 * anatomy.air * air

    # Heart, mediastinum, devices and nodule
    above = step(dome + 0.02 - y, 1.5 * edge)
    standing = heart(anatomy, x, y, 1.0) * above
    middle = mediastinum(anatomy, x - 0.6 * mid, y, ax, edge)
    body += standing + middle + devices(anatomy, x, y, edge)
    if anatomy.nodule:
        nodule = ball(x, y, anatomy.nodule_x, anatomy.nodule_y, anatomy.nodule, anatomy.nodule)
        body += 0.2 * nodule * lung

    # Vessels and hila; the left hilum stands higher
    vessels, septal = vessels_and_septal_lines(anatomy, k)
    upper = step(HILUM_Y + 0.04 - y, 0.08)
    vessels = vessels * lung
    hx = ax - HILUM_X
    hy = y - HILUM_Y - 0.05 * (1 - left)
    hila = bump(np.sqrt(hx * hx * 1.6 + hy * hy * 0.5), 0.085) * (ax > 0.05)
    body += 0.13 * hila * lung

    # Where a bat-wing opacity reaches
    wings = np.sqrt(((ax - 0.33) / 0.24) ** 2 + ((y + 0.02) / 0.3) ** 2)

    return Atlas(
        body=body,
        portable=heart(anatomy, x, y, 1.13) * above - standing,
        upper=vessels * upper,
        lower=vessels * (1 - upper),
        lung=lung,
        hila=hila * lung,
        septal=septal * lung * step(ax - 0.36, 0.08),
        basal=step(y - 0.12, 0.1) * lung,
        wings=step(1 - wings, 0.35) * lung,
        fluid=dome - y - 0.22 * np.clip((ax - 0.42) / 0.34, 0, 1) ** 2,
        wall=np.minimum(outer - ax, 1.2 * (y - anatomy.top)),
        x=x,
        y=y,
    )


@lru_cache(maxsize=4)
def _grid(k: int) -> tuple[Map, Map]:
    """Coordinates x and y of k x k points over the atlas."""
    axis = ((np.arange(k, dtype=np.float32) + 0.5) / k * 2 - 1) * REACH
    x, y = np.meshgrid(axis, axis)
    return x.astype(np.float32), y.astype(np.float32)
