"""The generated reports: sections, length, hedges, lasting findings and words that follow the class."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from forgetmi.cohort.phantom.patient import CAUSES, Patient, draw_patient
from forgetmi.cohort.phantom.report import write_reports

SECTIONS = re.compile(
    r"EXAMINATION: [^:]+\. INDICATION: [^:]+\. (COMPARISON: [^:]+\. )?FINDINGS: [^:]+\. IMPRESSION: [^:]+\."
)


def reports(patients: int, *, ordinal: bool = True) -> list[list[str]]:
    return [
        write_reports(draw_patient(1, "patient", k, ordinal=ordinal), ordinal=ordinal, seed=k)
        for k in range(patients)
    ]


@pytest.mark.parametrize("ordinal", [True, False])
def test_sections_and_length(ordinal: bool) -> None:
    texts = [text for one in reports(80, ordinal=ordinal) for text in one]
    assert all(SECTIONS.fullmatch(text) for text in texts)
    tokens = np.array([len(re.findall(r"\w+|[^\w\s]", text)) for text in texts])
    assert 40 < tokens.mean() < 58
    assert np.quantile(tokens, [0.02, 0.95]) == pytest.approx([38, 62], abs=4)
    assert not any(
        "  " in text or "None" in text.replace("None.", "").replace("None available.", "")
        for text in texts
    )


def test_wording_varies() -> None:
    words = {
        word for one in reports(150) for text in one for word in re.findall(r"[a-z]+", text.lower())
    }
    assert len(words) > 200


def graded(patient: Patient, severity: float) -> Patient:
    return replace(patient, text_severity=np.full_like(patient.text_severity, severity))


@pytest.mark.parametrize(
    ("severity", "mostly", "never"),
    [
        (-2.0, r"No pulmonary edema|No acute|No evidence|No vascular", r"Florid|Severe|Kerley"),
        (0.15, r"congestion|overload", r"Florid|Severe|Kerley|The lungs are clear"),
        (0.85, r"[Ii]nterstitial", r"Florid|Severe|The lungs are clear"),
        (2.5, r"Severe|Alveolar|Florid", r"The lungs are clear|No pulmonary edema|Kerley"),
    ],
)
def test_words_follow_the_grade_and_a_third_hedge(severity: float, mostly: str, never: str) -> None:
    texts = [
        text
        for k in range(150)
        for text in write_reports(
            graded(draw_patient(1, "patient", k, ordinal=True), severity), ordinal=True, seed=k
        )
    ]
    impressions = [text.split("IMPRESSION: ")[1] for text in texts]
    hedge = re.compile(
        r"^(Possible minimal|No definite edema|Congestion cannot|Mild edema is possible|"
        r"Congestion, perhaps|Suspect mild volume|Pulmonary edema\.|At least moderate|Findings likely)"
    )
    hedged = np.mean([bool(hedge.search(text)) for text in impressions])
    assert hedged == pytest.approx(0.35, abs=0.06)
    assert all(re.search(mostly, text) for text in impressions if not hedge.search(text))
    assert not any(re.search(never, text) for text in texts)


@pytest.mark.parametrize("cause", range(4))
def test_words_follow_the_cause(cause: int) -> None:
    severity = np.zeros((1, 4))
    severity[0, cause] = 3
    named = []
    for k in range(80):
        patient = draw_patient(1, "patient", k, ordinal=False)
        told = replace(patient, text_severity=np.repeat(severity, len(patient.label), axis=0))
        named += [
            CAUSES[cause] in text.split("IMPRESSION: ")[1].lower()
            for text in write_reports(told, ordinal=False, seed=k)
        ]
    assert all(named)


def test_a_patients_history_and_findings_return() -> None:
    for k in range(30):
        patient = draw_patient(1, "patient", k, ordinal=True)
        texts = write_reports(patient, ordinal=True, seed=k)
        histories = {re.search(r"old (?:wo)?man with ([^,.]+)", text)[1] for text in texts}  # type: ignore[index]
        assert len(histories) == 1
        assert all(("woman" in text) == patient.female for text in texts)
        assert patient.anatomy.pacemaker or not any("pacemaker" in text for text in texts)
        assert patient.anatomy.wires or not any("Sternotomy" in text.title() for text in texts)


def test_the_same_seed_gives_the_same_words() -> None:
    patient = draw_patient(1, "patient", 3, ordinal=True)
    assert write_reports(patient, ordinal=True, seed=5) == write_reports(
        patient, ordinal=True, seed=5
    )
    assert write_reports(patient, ordinal=True, seed=5) != write_reports(
        patient, ordinal=True, seed=6
    )
