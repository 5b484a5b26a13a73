"""Radiology reports of generated patients: the sections of a chest film report in varied, hedging, short sentences.

About two thirds of the reports name their class; the rest use words that two neighbouring classes share. A patient's
lasting findings and history return in each of the patient's reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from forgetmi.cohort.phantom.patient import (
    CAUSE_BIAS,
    GRADE_CUTS,
    Anatomy,
    Array,
    Patient,
    classify,
)
from forgetmi.core.seeding import numpy_generator

_HEDGED = 0.35
"""Share of reports that do not commit to one class."""

_STANDING = (
    "PA chest radiograph",
    "Chest, PA view",
    "Frontal chest film, upright",
    "Chest, PA and lateral",
)
_BEDSIDE = (
    "Portable AP chest",
    "AP chest radiograph, bedside",
    "Chest, single AP view",
    "Portable chest film",
)
_HISTORY = (
    "COPD",
    "heart failure",
    "coronary disease",
    "prior bypass surgery",
    "hypertension",
    "diabetes",
    "renal failure",
    "atrial fibrillation",
    "lung cancer",
    "cirrhosis",
    "breast cancer",
    "prior stroke",
    "sarcoidosis",
    "asthma",
    "aortic stenosis",
    "mitral regurgitation",
    "lymphoma",
    "HIV",
    "sleep apnea",
    "pulmonary hypertension",
    "chronic dialysis",
    "peripheral vascular disease",
    "rheumatoid arthritis",
    "heart transplant",
    "obesity",
    "ischemic cardiomyopathy",
    "tobacco use",
    "anemia",
    "dementia",
    "liver transplant",
)
_SYMPTOM = (
    "dyspnea",
    "cough",
    "chest pain",
    "fever",
    "hypoxia",
    "shortness of breath",
    "weakness",
    "wheezing",
    "leg swelling",
    "tachycardia",
    "altered mental status",
    "a fall",
    "increased oxygen requirement",
    "preoperative assessment",
)
_FIRST = ("None.", "None available.", "No prior films.")
_LATER = (
    "Prior chest radiograph.",
    "Previous film.",
    "Recent prior study.",
    "Multiple prior films.",
)

_CARDIAC = (
    (
        "Heart size is normal.",
        "Normal cardiac silhouette.",
        "The cardiomediastinal contours are unremarkable.",
    ),
    (
        "Heart size is top normal.",
        "Borderline cardiac enlargement.",
        "The heart is at the upper limits of normal.",
    ),
    (
        "The heart is enlarged.",
        "Stable cardiomegaly.",
        "Moderate enlargement of the cardiac silhouette.",
    ),
)
_PLAIN = (
    "No rib fracture is seen.",
    "The bony thorax is intact.",
    "No acute osseous abnormality.",
    "Mediastinal contours are stable.",
)

_SIGNS: tuple[tuple[str, ...], ...] = (
    (
        "The lungs are clear.",
        "Lungs are well aerated without vascular engorgement.",
        "No interstitial or alveolar process.",
        "Pulmonary vasculature is normal.",
    ),
    (
        "Upper zone vessels are prominent.",
        "There is cephalization of the pulmonary vessels.",
        "The hila are mildly engorged.",
        "Pulmonary vascular redistribution is present.",
    ),
    (
        "Kerley lines are seen at both bases.",
        "Interstitial markings are thickened.",
        "There are septal lines and peribronchial cuffing.",
        "Diffuse interstitial opacities are present.",
    ),
    (
        "Perihilar airspace opacities are present.",
        "Bilateral alveolar infiltrates with small effusions.",
        "There are confluent opacities in a batwing pattern.",
        "Dense central consolidation with pleural fluid.",
    ),
)
_VERDICTS: tuple[tuple[str, ...], ...] = (
    (
        "No pulmonary edema.",
        "No acute cardiopulmonary process.",
        "No evidence of fluid overload.",
        "No vascular congestion.",
    ),
    (
        "Mild pulmonary vascular congestion.",
        "Vascular congestion without overt edema.",
        "Mild fluid overload.",
    ),
    (
        "Interstitial pulmonary edema.",
        "Moderate interstitial edema.",
        "Findings of interstitial edema.",
    ),
    (
        "Severe pulmonary edema.",
        "Alveolar pulmonary edema.",
        "Florid pulmonary edema with effusions.",
    ),
)
_VAGUE_SIGNS: tuple[tuple[str, ...], ...] = (
    (
        "Vessels appear minimally prominent, perhaps from low volumes.",
        "Vascular markings are difficult to assess.",
        "Lung volumes are low with crowding of vessels.",
    ),
    (
        "Vascular markings are indistinct.",
        "There is mild prominence of lung markings.",
        "Perihilar haziness is noted.",
    ),
    (
        "Increased opacity at both lung bases.",
        "Bilateral hazy opacities are present.",
        "Lung markings are diffusely increased.",
    ),
)
_VAGUE_VERDICTS: tuple[tuple[str, ...], ...] = (
    ("Possible minimal congestion.", "No definite edema.", "Congestion cannot be excluded."),
    (
        "Mild edema is possible.",
        "Congestion, perhaps early edema.",
        "Suspect mild volume overload.",
    ),
    (
        "Pulmonary edema.",
        "At least moderate edema suspected.",
        "Findings likely reflect worsening edema.",
    ),
)
_CAUSE_SIGNS: tuple[tuple[str, ...], ...] = (
    (
        "Vascular redistribution with perihilar haze.",
        "Septal lines and engorged hila are present.",
        "Interstitial markings are thickened with cephalization.",
    ),
    (
        "There is a focal airspace opacity.",
        "Patchy consolidation with air bronchograms.",
        "A segmental opacity has developed.",
    ),
    (
        "There is blunting of the costophrenic angle.",
        "Layering pleural fluid with a meniscus.",
        "Basal opacity consistent with fluid.",
    ),
    (
        "A visceral pleural line is visible.",
        "There is apical lucency without lung markings.",
        "Air is seen in the pleural space.",
    ),
)
_CAUSE_NAMES = ("Pulmonary edema", "Pneumonia", "Pleural effusion", "Pneumothorax")
_CAUSE_VERDICTS = ("{}.", "Findings consistent with {}.", "New {}.", "{}, follow up advised.")
_VAGUE_CAUSES = (
    "Nonspecific change on one side.",
    "The lung fields are partly obscured.",
    "Subtle abnormality is noted.",
)


def write_reports(patient: Patient, *, ordinal: bool, seed: int) -> list[str]:
    """One report for each of a patient's m studies.

    Args:
        patient: Whom the reports are about.
        ordinal: Whether classes are grades of edema; else four causes.
        seed: Root of the choice of words.

    Returns:
        m texts of about 36 to 60 tokens, without identifiers and dates.
    """
    draw = numpy_generator(seed, "history")
    person = "woman" if patient.female else "man"
    history = " and ".join(
        _HISTORY[i] for i in draw.choice(len(_HISTORY), 1 + (draw.random() < 0.45), replace=False)
    )
    lasting = _lasting(patient.anatomy)
    told = classify(patient.text_severity, ordinal=ordinal)
    reports = []
    for j in range(len(patient.label)):
        words = numpy_generator(seed, "words", j)

        def pick(options: Sequence[str], words: np.random.Generator = words) -> str:
            return options[int(words.random() * len(options))]

        hedged = words.random() < _HEDGED
        tell = _tell_grade if ordinal else _tell_cause
        sign, verdict = tell(int(told[j]), patient.text_severity[j], hedged=hedged, pick=pick)
        age = f"{patient.age + j // 4} year old {person}"
        indication = (
            f"{age} with {history}"
            if words.random() < 0.3
            else f"{age} with {history}, {pick(_SYMPTOM)}"
        )
        findings = [pick(_CARDIAC[_heart_size(patient.anatomy)]), sign]
        if lasting:
            findings.append(pick(lasting))
        if patient.consolidation[j]:
            findings.append(_patch(patient.place[j], pick))
        elif words.random() < 0.3:
            findings.append(pick(_PLAIN))
        order = words.permutation(len(findings))
        compared = (
            f"COMPARISON: {pick(_FIRST if j == 0 else _LATER)} " if words.random() < 0.6 else ""
        )
        reports.append(
            f"EXAMINATION: {pick(_BEDSIDE if patient.portable[j] else _STANDING)}. INDICATION: {indication}. {compared}"
            f"FINDINGS: {' '.join(findings[i] for i in order)} IMPRESSION: {verdict}"
        )
    return reports


def _heart_size(anatomy: Anatomy) -> int:
    return int(anatomy.heart > 1.02) + int(anatomy.heart > 1.14)


def _lasting(anatomy: Anatomy) -> list[str]:
    """What each film of this patient would show."""
    side = "right" if anatomy.nodule_x < 0 else "left"
    zone = "upper" if anatomy.nodule_y < -0.25 else "mid" if anatomy.nodule_y < 0.05 else "lower"
    known = (
        (anatomy.pacemaker, "Left chest pacemaker with leads in place."),
        (anatomy.wires, "Median sternotomy wires are intact."),
        (anatomy.port, "Right chest port ends in the SVC."),
        (anatomy.nodule > 0, f"Unchanged {side} {zone} zone nodule."),
        (anatomy.elevation > 0.11, "Chronic elevation of the right hemidiaphragm."),
        (anatomy.air >= 1.15, "Lungs are hyperinflated, compatible with emphysema."),
        (abs(anatomy.curve) > 0.05, "Thoracic scoliosis is noted."),
        (anatomy.unfolding > 0.06, "The aorta is tortuous."),
        (anatomy.knob > 0.1, "Prominent aortic knob."),
        (anatomy.rib_density < 0.75, "The bones are demineralized."),
    )
    return [sentence for there, sentence in known if there]


def _patch(place: Array, pick: Callable[[Sequence[str]], str]) -> str:
    where = f"{'right' if place[0] < 0 else 'left'} {'upper' if place[1] < -0.15 else 'lower'} lung"
    return pick(
        (
            f"Patchy opacity in the {where}.",
            f"Focal {where} opacity, possibly atelectasis.",
            f"Ill defined {where} density.",
        )
    )


def _tell_grade(
    grade: int, severity: Array, *, hedged: bool, pick: Callable[[Sequence[str]], str]
) -> tuple[str, str]:
    if not hedged:
        return pick(_SIGNS[grade]), pick(_VERDICTS[grade])
    border = int(np.argmin(np.abs(np.asarray(GRADE_CUTS) - severity[0])))
    return pick(_VAGUE_SIGNS[border]), pick(_VAGUE_VERDICTS[border])


def _tell_cause(
    cause: int, severity: Array, *, hedged: bool, pick: Callable[[Sequence[str]], str]
) -> tuple[str, str]:
    if not hedged:
        name, form = _CAUSE_NAMES[cause], pick(_CAUSE_VERDICTS)
        return pick(_CAUSE_SIGNS[cause]), form.format(
            name if form.startswith("{}") else name.lower()
        )
    one, two = sorted(np.argsort(severity + np.asarray(CAUSE_BIAS))[-2:])
    return pick(_VAGUE_CAUSES), f"{_CAUSE_NAMES[one]} versus {_CAUSE_NAMES[two].lower()}."
