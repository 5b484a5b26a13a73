"""Who a generated patient is: visits, hidden severity, anatomy and lasting findings, drawn without pixels or words.

The severity of a study is half the patient's and half the visit's own. Label, image and report each see it through
their own independent noise, so that none of them determines another and a model that fits the training labels
exactly has memorised patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetmi.core.seeding import numpy_generator

# n images, m studies, d hidden scores a study
Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

GRADES = ("no edema", "vascular congestion", "interstitial edema", "alveolar edema")
CAUSES = ("pulmonary edema", "pneumonia", "pleural effusion", "pneumothorax")
SHARES = (0.43, 0.25, 0.22, 0.10)
"""Expected share of each class among images."""
GRADE_CUTS = (-0.17637, 0.46770, 1.28155)
"""Normal quantiles of the cumulated shares .43, .68, .90."""
CAUSE_BIAS = (0.0, -0.425, -0.515, -1.033)
"""Added to the four causes' scores so that the largest one follows the shares (solved numerically)."""
LABEL_NOISE, IMAGE_NOISE, TEXT_NOISE = 0.35, 0.5, 0.35
"""Standard deviations, on a severity of standard deviation 1."""

_MOST_IMAGES = 15
_STOP = 0.22  # geometric with a cap of 15 images: mean 4.44, as 1,198 images of 270 patients
_SECOND_VIEW = 0.148  # chance that a later image belongs to the study before it: 10 % of all images


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in all of a patient's images; lengths in half image widths, the rest unitless.

    Args:
        seed: Root of the branching of vessels and of septal lines.
        width, top, base: Half width of the chest; height of the apices; height of the diaphragm (down is positive).
        dome, elevation: Height of the domes; how much higher the right one stands.
        heart, tilt, waist: Size of the heart (1 = usual), its axis in radians, width of the mediastinum.
        knob, unfolding: Size of the aortic knob; bulge of the aorta to the right.
        ribs, rib_phase, rib_slope, rib_density: Distance of ribs, offset, fall to the side, brightness.
        clavicle, clavicle_bend: Height and bend of the clavicles.
        curve: Sideways bend of the spine.
        stout: Thickness of soft tissue (1 = usual).
        breast: Size of the breast shadows, 0 = none.
        bubble: Size of the gastric air bubble.
        vessels: Prominence of the lung markings.
        air: Lucency of the lungs (emphysema > 1).
        pacemaker, wires, port: Whether these devices are there.
        nodule: 0 = none, else its radius.
        nodule_x, nodule_y: Its place; negative x is the patient's right.
    """

    seed: int

    # Chest and diaphragm
    width: float
    top: float
    base: float
    dome: float
    elevation: float

    # Heart and great vessels
    heart: float
    tilt: float
    waist: float
    knob: float
    unfolding: float

    # Bones
    ribs: float
    rib_phase: float
    rib_slope: float
    rib_density: float
    clavicle: float
    clavicle_bend: float
    curve: float

    # Soft tissue and lungs
    stout: float
    breast: float
    bubble: float
    vessels: float
    air: float

    # Devices and nodule
    pacemaker: bool
    wires: bool
    port: bool
    nodule: float
    nodule_x: float
    nodule_y: float


@dataclass(frozen=True)
class Patient:
    """One generated patient with m studies and n images.

    Args:
        female, age: Sex and age in years at the first study.
        anatomy: See `Anatomy`.
        study: n study numbers 0..m-1, not decreasing.
        portable: m flags: taken at the bedside (AP) rather than standing (PA).
        label: m class indices.
        image_severity: [n, d] noisy severity the images show; d = 1 for grades, 4 for causes.
        text_severity: [m, d] noisy severity the reports describe.
        consolidation, haze: m strengths in [0, 1] of findings that have nothing to do with the grade.
        place: [m, 2] centre of the consolidation.
    """

    female: bool
    age: int
    anatomy: Anatomy
    study: Codes
    portable: npt.NDArray[np.bool_]
    label: Codes
    image_severity: Array
    text_severity: Array
    consolidation: Array
    haze: Array
    place: Array


def image_count(seed: int, kind: str, index: int) -> int:
    """How many images a patient has, without drawing anything else.

    Args:
        seed: The cohort's seed.
        kind: "patient" or "reference".
        index: The patient's number within its kind.
    """
    return _image_count(numpy_generator(seed, "synthetic", kind, index, "visits"))


def _image_count(visits: np.random.Generator) -> int:
    """The first draw of the stream of visits."""
    return int(min(visits.geometric(_STOP), _MOST_IMAGES))


def classify(severity: Array, *, ordinal: bool) -> Codes:
    """The class each severity stands for.

    Args:
        severity: [m, 1] of standard deviation 1 (grades) or [m, 4] scores (causes).
        ordinal: Whether classes are grades.
    """
    if ordinal:
        return np.searchsorted(GRADE_CUTS, severity[:, 0], side="right").astype(np.int64)
    return np.argmax(severity + CAUSE_BIAS, axis=1).astype(np.int64)


def draw_patient(seed: int, kind: str, index: int, *, ordinal: bool) -> Patient:
    """One patient, a pure function of the arguments; `kind` and `index` as in `image_count`."""
    # Visits: n images in m studies
    visits = numpy_generator(seed, "synthetic", kind, index, "visits")
    n = _image_count(visits)
    study = _studies(visits.random(n))
    m = int(study[-1]) + 1

    # The body
    body = numpy_generator(seed, "synthetic", kind, index, "body")
    female = bool(body.random() < 0.47)
    age = int(np.clip(body.normal(64, 15), 20, 89))
    anatomy = _draw_anatomy(body, female=female, age=age)

    # Hidden severity: half the patient's, half the visit's own
    scale = "grades" if ordinal else "causes"
    latent = numpy_generator(seed, "synthetic", kind, index, "severity", scale)
    d = 1 if ordinal else len(CAUSES)
    severity = np.sqrt(0.5) * (latent.normal(size=(1, d)) + latent.normal(size=(m, d)))

    # Label, report and image each see it through noise of their own
    label_severity = severity + LABEL_NOISE * latent.normal(size=(m, d))
    text_severity = severity + TEXT_NOISE * latent.normal(size=(m, d))
    image_severity = severity[study] + IMAGE_NOISE * latent.normal(size=(n, d))

    # Findings that have nothing to do with the grade
    other = numpy_generator(seed, "synthetic", kind, index, "findings")
    portable = other.random(m) < other.beta(1.2, 1.2)
    side = np.where(other.random(m) < 0.5, -1.0, 1.0)
    place_x = side * other.uniform(0.32, 0.56, m)
    place_y = other.uniform(-0.4, 0.3, m)
    consolidation = np.where(other.random(m) < 0.3, other.uniform(0.4, 1, m), 0.0)
    haze = np.where(other.random(m) < 0.3, other.uniform(0.4, 1, m), 0.0)

    # Grades and reported severities have standard deviation 1 again
    label = classify(label_severity / np.sqrt(1 + LABEL_NOISE**2), ordinal=ordinal)
    return Patient(
        female=female,
        age=age,
        anatomy=anatomy,
        study=study,
        portable=portable,
        label=label,
        image_severity=image_severity,
        text_severity=text_severity / np.sqrt(1 + TEXT_NOISE**2),
        consolidation=consolidation * ordinal,
        haze=haze * ordinal,
        place=np.stack([place_x, place_y], axis=1),
    )


def hidden_severity(seed: int, kind: str, index: int, studies: int, *, ordinal: bool) -> Array:
    """What label, film and report of each of m studies see through noise; of causes that of pulmonary edema."""
    scale = "grades" if ordinal else "causes"
    latent = numpy_generator(seed, "synthetic", kind, index, "severity", scale)
    d = 1 if ordinal else len(CAUSES)
    severity = np.sqrt(0.5) * (latent.normal(size=(1, d)) + latent.normal(size=(studies, d)))
    return severity[:, 0]


def _studies(chance: Array) -> Codes:
    """The study of each image: some images are a second view of the study before, never two in a row."""
    second = np.zeros(len(chance), dtype=bool)
    for image in range(1, len(chance)):
        second[image] = not second[image - 1] and chance[image] < _SECOND_VIEW
    return np.cumsum(~second) - 1


def _draw_anatomy(draw: np.random.Generator, *, female: bool, age: int) -> Anatomy:
    """A body; the order of the random draws is part of the generator."""
    old = (age - 64) / 15
    stout = float(np.exp(draw.normal(0, 0.13)))
    emphysema = draw.random() < 0.14

    # Emphysema: a low, flat diaphragm and lucent lungs
    lowered = 0.06 if emphysema else 0.0
    flattened = 0.5 if emphysema else 1.0

    return Anatomy(
        seed=int(draw.integers(2**62)),
        # Chest and diaphragm
        width=draw.normal(0.735 if female else 0.765, 0.03),
        top=draw.normal(-0.74, 0.035),
        base=draw.normal(0.56, 0.05) + lowered,
        dome=draw.normal(0.13, 0.03) * flattened,
        elevation=draw.normal(0.045, 0.02) + _sometimes(draw, 0.07, 0.12),
        # Heart and great vessels; the aorta widens with age
        heart=draw.normal(1.0, 0.1) + _sometimes(draw, 0.25, 0.2),
        tilt=draw.normal(0.62, 0.1),
        waist=draw.normal(0.125, 0.015),
        knob=float(np.clip(draw.normal(0.085 + 0.012 * old, 0.015), 0.05, 0.13)),
        unfolding=float(np.clip(draw.normal(0.02 + 0.03 * old, 0.03), 0, 0.13)),
        # Bones, which lose density with age
        ribs=draw.normal(0.118, 0.006),
        rib_phase=draw.uniform(0, 1),
        rib_slope=draw.normal(0.2, 0.03),
        rib_density=float(np.exp(draw.normal(-0.1 * max(old, 0), 0.2))),
        clavicle=draw.normal(-0.56, 0.04),
        clavicle_bend=draw.normal(0.035, 0.015),
        curve=draw.normal(0, 0.015) + _scoliosis(draw),
        # Soft tissue and lungs
        stout=stout,
        breast=float(np.clip(draw.normal(0.9, 0.3), 0.3, 1.5)) if female else 0.0,
        bubble=float(max(draw.uniform(-0.6, 1.0), 0)),
        vessels=float(np.exp(draw.normal(0, 0.2))),
        air=1.15 if emphysema else draw.normal(1.0, 0.05),
        # Devices and nodule
        pacemaker=bool(draw.random() < 0.2),
        wires=bool(draw.random() < 0.15),
        port=bool(draw.random() < 0.1),
        nodule=draw.uniform(0.03, 0.055) if draw.random() < 0.3 else 0.0,
        nodule_x=_side(draw) * draw.uniform(0.3, 0.6),
        nodule_y=draw.uniform(-0.5, 0.25),
    )


def _sometimes(draw: np.random.Generator, chance: float, value: float) -> float:
    """The value in some patients, else 0."""
    return value if draw.random() < chance else 0.0


def _side(draw: np.random.Generator) -> int:
    """-1 (the patient's right) or 1."""
    return -1 if draw.random() < 0.5 else 1


def _scoliosis(draw: np.random.Generator) -> float:
    """A marked bend of the spine, to either side, in one patient of ten."""
    if draw.random() >= 0.1:
        return 0.0
    return 0.07 * _side(draw)
