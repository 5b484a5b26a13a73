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
from forgetmi.cohort.phantom.phrases import (
    BEDSIDE,
    CARDIAC,
    CAUSE_NAMES,
    CAUSE_SIGNS,
    CAUSE_VERDICTS,
    FIRST,
    HISTORY,
    LATER,
    PLAIN,
    SIGNS,
    STANDING,
    SYMPTOM,
    VAGUE_CAUSES,
    VAGUE_SIGNS,
    VAGUE_VERDICTS,
    VERDICTS,
)
from forgetmi.core.seeding import numpy_generator

Pick = Callable[[Sequence[str]], str]

_HEDGED = 0.35
"""Share of reports that do not commit to one class."""


def write_reports(patient: Patient, *, ordinal: bool, seed: int) -> list[str]:
    """One report for each of a patient's m studies.

    Args:
        patient: Whom the reports are about.
        ordinal: Whether classes are grades of edema; else four causes.
        seed: Root of the choice of words.

    Returns:
        m texts of about 36 to 60 tokens, without identifiers and dates.
    """
    # What all of the patient's reports share: the history, the lasting findings
    history = _history(numpy_generator(seed, "history"))
    lasting = _lasting_findings(patient.anatomy)

    # The class that each report gives, from its own noisy view of the severity
    reported = classify(patient.text_severity, ordinal=ordinal)

    reports = []
    for study in range(len(patient.label)):
        words = numpy_generator(seed, "words", study)
        report = _report(
            patient, study, int(reported[study]), history, lasting, words, ordinal=ordinal
        )
        reports.append(report)
    return reports


def _report(
    patient: Patient,
    study: int,
    reported: int,
    history: str,
    lasting: list[str],
    words: np.random.Generator,
    *,
    ordinal: bool,
) -> str:
    """The report of one study. The order of the random draws is part of the generator."""

    def pick(options: Sequence[str]) -> str:
        return options[int(words.random() * len(options))]

    # The class: a finding, and the same in the impression
    hedged = words.random() < _HEDGED
    severity = patient.text_severity[study]
    if ordinal:
        sign, verdict = _grade_phrases(reported, severity, hedged=hedged, pick=pick)
    else:
        sign, verdict = _cause_phrases(reported, severity, hedged=hedged, pick=pick)

    # Indication: patients grow a year older every four studies
    person = "woman" if patient.female else "man"
    indication = f"{patient.age + study // 4} year old {person} with {history}"
    if words.random() >= 0.3:
        indication += f", {pick(SYMPTOM)}"

    # Findings, in any order
    findings = [pick(CARDIAC[_heart_size(patient.anatomy)]), sign]
    if lasting:
        findings.append(pick(lasting))
    if patient.consolidation[study]:
        findings.append(_consolidation(patient.place[study], pick))
    elif words.random() < 0.3:
        findings.append(pick(PLAIN))
    order = words.permutation(len(findings))
    shuffled = " ".join(findings[position] for position in order)

    # Comparison, which many reports leave out
    comparison = ""
    if words.random() < 0.6:
        comparison = f"COMPARISON: {pick(FIRST if study == 0 else LATER)} "

    examination = pick(BEDSIDE if patient.portable[study] else STANDING)
    return (
        f"EXAMINATION: {examination}. INDICATION: {indication}. {comparison}"
        f"FINDINGS: {shuffled} IMPRESSION: {verdict}"
    )


def _history(draw: np.random.Generator) -> str:
    """One or two lasting illnesses."""
    count = 1 + (draw.random() < 0.45)
    chosen = draw.choice(len(HISTORY), count, replace=False)
    return " and ".join(HISTORY[index] for index in chosen)


def _heart_size(anatomy: Anatomy) -> int:
    """0 normal, 1 borderline, 2 enlarged."""
    return int(anatomy.heart > 1.02) + int(anatomy.heart > 1.14)


def _lasting_findings(anatomy: Anatomy) -> list[str]:
    """What each film of this patient would show."""
    # Where a nodule lies; negative x is the patient's right
    side = "right" if anatomy.nodule_x < 0 else "left"
    zone = "lower"
    if anatomy.nodule_y < -0.25:
        zone = "upper"
    elif anatomy.nodule_y < 0.05:
        zone = "mid"

    # Only what is marked enough to be seen
    findings = (
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
    return [sentence for visible, sentence in findings if visible]


def _consolidation(place: Array, pick: Pick) -> str:
    """A sentence about a consolidation; `place` is its centre, x and y."""
    side = "right" if place[0] < 0 else "left"
    zone = "upper" if place[1] < -0.15 else "lower"
    lung = f"{side} {zone} lung"
    return pick(
        (
            f"Patchy opacity in the {lung}.",
            f"Focal {lung} opacity, possibly atelectasis.",
            f"Ill defined {lung} density.",
        )
    )


def _grade_phrases(grade: int, severity: Array, *, hedged: bool, pick: Pick) -> tuple[str, str]:
    """Finding and impression that name a grade of edema, or, hedged, leave two neighbouring grades open."""
    if not hedged:
        return pick(SIGNS[grade]), pick(VERDICTS[grade])

    # The two grades on either side of the cut that the severity is closest to
    distance = np.abs(np.asarray(GRADE_CUTS) - severity[0])
    border = int(np.argmin(distance))
    return pick(VAGUE_SIGNS[border]), pick(VAGUE_VERDICTS[border])


def _cause_phrases(cause: int, severity: Array, *, hedged: bool, pick: Pick) -> tuple[str, str]:
    """Finding and impression that name a cause, or, hedged, the two most likely causes."""
    if not hedged:
        form = pick(CAUSE_VERDICTS)
        name = CAUSE_NAMES[cause]
        if not form.startswith("{}"):  # within a sentence
            name = name.lower()
        return pick(CAUSE_SIGNS[cause]), form.format(name)

    likely = np.argsort(severity + np.asarray(CAUSE_BIAS))[-2:]
    first, second = sorted(likely)
    impression = f"{CAUSE_NAMES[first]} versus {CAUSE_NAMES[second].lower()}."
    return pick(VAGUE_CAUSES), impression
