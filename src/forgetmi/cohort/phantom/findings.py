"""Generated patients with fourteen findings each, as CheXpert names them: labels, films and reports.

Each finding has a hidden severity, half the patient's and half the visit's own (findings that last are the patient's
alone). Label, film and report each see it through noise of their own, as the grades of the other cohorts. Where it is
close to its threshold the label is -1 (uncertain); of the absent ones half are not mentioned and stay blank.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forgetmi.cohort.phantom.finding_phrases import NORMAL, PHRASES
from forgetmi.cohort.phantom.image import Signs
from forgetmi.cohort.phantom.patient import (
    IMAGE_NOISE,
    LABEL_NOISE,
    TEXT_NOISE,
    Array,
    Patient,
    draw_patient,
)
from forgetmi.core.seeding import numpy_generator

# Expected share of studies that have each finding. No Finding and Lung Opacity follow from the others.
PREVALENCE = {
    "Atelectasis": 0.20,
    "Cardiomegaly": 0.22,
    "Consolidation": 0.12,
    "Edema": 0.20,
    "Enlarged Cardiomediastinum": 0.10,
    "Fracture": 0.08,
    "Lung Lesion": 0.10,
    "Pleural Effusion": 0.25,
    "Pleural Other": 0.08,
    "Pneumonia": 0.12,
    "Pneumothorax": 0.09,
    "Support Devices": 0.30,
}
DRAWN = tuple(PREVALENCE)
# The same at every visit
LASTING = (
    "Cardiomegaly",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Pleural Other",
    "Support Devices",
)
# A study with one of these has a lung opacity
OPAQUE = ("Atelectasis", "Consolidation", "Edema", "Lung Lesion", "Pneumonia")
NO_FINDING, LUNG_OPACITY = "No Finding", "Lung Opacity"

# How strongly findings come together: each is a mixture of its own severity and that of another
TOGETHER = {"Pleural Effusion": ("Edema", 0.5), "Consolidation": ("Pneumonia", 0.6)}
_CLOSE = 0.15  # to the threshold, in standard deviations: uncertain
_UNMENTIONED = 0.5  # of what is absent


@dataclass(frozen=True, eq=False)
class Findings:
    """A generated patient with findings.

    Args:
        patient: Visits and body; the body shows the findings that last.
        signs: What the films show.
        label: m studies, the 14 findings by name: "1", "0", "-1" or "".
        reports: m texts.
    """

    patient: Patient
    signs: Signs
    label: list[dict[str, str]]
    reports: list[str]


def draw_findings(seed: int, kind: str, index: int) -> Findings:
    """One patient, a pure function of the arguments; see `forgetmi.cohort.phantom.patient.draw_patient`."""
    # Visits and body are those of the other cohorts
    patient = draw_patient(seed, kind, index, ordinal=False)
    n, m = len(patient.study), len(patient.label)

    # Hidden severity of each finding at each visit, [m, f], of standard deviation 1
    latent = numpy_generator(seed, "synthetic", kind, index, "fourteen")
    own = _severity(latent, m)

    # Each sees it through its own noise; the thresholds are on the same scale
    cut = _cuts()
    labelled = (own + LABEL_NOISE * latent.normal(size=own.shape)) / np.hypot(1, LABEL_NOISE)
    written = (own + TEXT_NOISE * latent.normal(size=own.shape)) / np.hypot(1, TEXT_NOISE)
    noise = IMAGE_NOISE * latent.normal(size=(n, len(DRAWN)))
    shown = (own[patient.study] + noise) / np.hypot(1, IMAGE_NOISE)

    unmentioned = latent.random(own.shape) < _UNMENTIONED
    label = [_labels(one, cut, silent) for one, silent in zip(labelled, unmentioned, strict=True)]
    patient, signs = _seen(patient, shown, cut)
    words = numpy_generator(seed, "synthetic", kind, index, "fourteen words")
    reports = [_report(patient, study, written[study], cut, words) for study in range(m)]
    return Findings(patient, signs, label, reports)


def edema_severity(seed: int, kind: str, index: int, studies: int) -> Array:
    """The hidden severity of a patient's edema at each of m studies, which nothing shows without noise."""
    latent = numpy_generator(seed, "synthetic", kind, index, "fourteen")
    return _severity(latent, studies)[:, DRAWN.index("Edema")]


def _severity(latent: np.random.Generator, m: int) -> Array:
    """Hidden severities, [m, f]: the patient's share is all of it for findings that last."""
    of_patient = latent.normal(size=(1, len(DRAWN)))
    of_visit = latent.normal(size=(m, len(DRAWN)))
    lasting = np.array([name in LASTING for name in DRAWN])
    own = np.where(lasting, np.broadcast_to(of_patient, of_visit.shape), 0.0)
    own = np.where(lasting, own, np.sqrt(0.5) * (of_patient + of_visit))

    for name, (other, weight) in TOGETHER.items():
        mixed = weight * own[:, DRAWN.index(other)]
        own[:, DRAWN.index(name)] = mixed + np.sqrt(1 - weight**2) * own[:, DRAWN.index(name)]
    return own


def _cuts() -> Array:
    """The threshold of each finding: the normal quantile of its prevalence."""
    from scipy.special import ndtri  # imported late: SciPy takes long to load

    return -ndtri(np.array([PREVALENCE[name] for name in DRAWN]))


def _labels(severity: Array, cut: Array, unmentioned: np.ndarray) -> dict[str, str]:
    """The fourteen cells of one study."""
    cells = {}
    for name, value, threshold, silent in zip(DRAWN, severity, cut, unmentioned, strict=True):
        if abs(value - threshold) < _CLOSE:
            cells[name] = "-1"
        elif value > threshold:
            cells[name] = "1"
        else:
            cells[name] = "" if silent else "0"

    # What follows from the others
    opaque = [cells[name] for name in OPAQUE]
    if "1" in opaque:
        cells[LUNG_OPACITY] = "1"
    else:
        cells[LUNG_OPACITY] = "-1" if "-1" in opaque else "0"
    nothing = not {"1", "-1"} & {*cells.values()}
    cells[NO_FINDING] = "1" if nothing else ""
    return cells


def _seen(patient: Patient, shown: Array, cut: Array) -> tuple[Patient, Signs]:
    """The body with the findings that last, and the signs of the others, image by image."""
    # Strength 0 to 1.2, a ramp around the threshold
    strength = dict(zip(DRAWN, np.clip(0.5 + (shown - cut) / 1.1, 0, 1.2).T, strict=True))
    lasts = {name: float(strength[name].mean()) for name in LASTING}

    # Size of the heart and the mediastinum, a nodule, devices
    body = patient.anatomy
    devices = lasts["Support Devices"] > 0.5
    body = replace(
        body,
        heart=body.heart + 0.35 * lasts["Cardiomegaly"],
        waist=body.waist + 0.06 * lasts["Enlarged Cardiomediastinum"],
        nodule=0.07 * lasts["Lung Lesion"] if lasts["Lung Lesion"] > 0.35 else 0.0,
        pacemaker=devices,
        port=devices,
        wires=body.wires and devices,
    )

    nothing = np.zeros(len(shown))
    edema = strength["Edema"]
    signs = Signs(
        congestion=edema,
        interstitial=edema,
        alveolar=0.6 * edema,
        effusion=strength["Pleural Effusion"],
        consolidation=np.maximum(strength["Consolidation"], strength["Pneumonia"]),
        haze=0.8 * strength["Pneumonia"],
        pneumothorax=strength["Pneumothorax"],
        side=1.0 if body.nodule_x > 0 else -1.0,
        atelectasis=strength["Atelectasis"],
        thickening=np.full_like(nothing, lasts["Pleural Other"]),
        fracture=np.full_like(nothing, lasts["Fracture"]),
    )
    return replace(patient, anatomy=body), signs


def _report(
    patient: Patient, study: int, severity: Array, cut: Array, words: np.random.Generator
) -> str:
    """The report of one study. The order of the random draws is part of the generator."""
    sentences, abnormal = [], []
    for name, value, threshold in zip(DRAWN, severity, cut, strict=True):
        phrases = PHRASES[name]
        pick, silent = words.random(), words.random() < _UNMENTIONED

        # Present and uncertain findings are always named, absent ones half the time
        if abs(value - threshold) < _CLOSE:
            options = phrases.uncertain
        elif value > threshold:
            options = phrases.present
            abnormal.append(name.lower())
        elif not silent:
            options = phrases.absent
        else:
            continue
        sentences.append(options[int(pick * len(options))])

    order = words.permutation(len(sentences))
    text = " ".join(sentences[place] for place in order)
    closing = NORMAL[int(words.random() * len(NORMAL))]
    if abnormal:
        closing = f"{', '.join(abnormal[:2]).capitalize()}."
    person = "woman" if patient.female else "man"
    view = "portable" if patient.portable[study] else "upright"
    return (
        f"EXAMINATION: Frontal chest film, {view}. "
        f"INDICATION: {patient.age + study // 4} year old {person}. "
        f"FINDINGS: {text or closing} IMPRESSION: {closing}"
    )
