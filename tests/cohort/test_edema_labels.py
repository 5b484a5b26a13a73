from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.edema_labels import GRADES, edema_grade, edema_mentions

CASES = [
    # affirmed, by grade words
    ("Mild pulmonary vascular congestion.", 1),
    ("There is cephalization of the pulmonary vasculature.", 1),
    ("Mild hilar engorgement is present.", 1),
    ("Mild vascular plethora.", 1),
    ("The pulmonary vessels are engorged.", 1),
    ("Prominence of the central pulmonary vasculature.", 1),
    ("Findings consistent with fluid overload.", 1),
    ("Congestive heart failure.", 1),
    ("Upper zone vascular redistribution is seen.", 1),
    ("Mild interstitial edema.", 2),
    ("Kerley B lines at the bases.", 2),
    ("Mild to moderate pulmonary edema.", 2),
    ("Moderate pulmonary oedema, slightly worse than before.", 2),
    ("Cardiomegaly with vascular congestion and interstitial edema.", 2),
    ("Severe pulmonary edema.", 3),
    ("Moderate to severe alveolar edema.", 3),
    ("Diffuse bilateral airspace opacities with congestion consistent with pulmonary edema.", 3),
    ("Bat-wing distribution of opacities.", 3),
    # affirmed, hedged towards yes
    ("Bilateral opacities likely represent pulmonary edema.", 2),
    ("Findings suggest mild pulmonary edema.", 2),
    ("Opacities compatible with interstitial pulmonary edema.", 2),
    ("Probable mild vascular congestion.", 1),
    # comparisons affirm
    ("Pulmonary edema has improved.", 2),
    ("Interval improvement in interstitial edema.", 2),
    ("No significant change in pulmonary edema.", 2),
    ("No interval change in the vascular congestion.", 1),
    ("Pulmonary edema is unchanged compared to the prior study.", 2),
    ("Compared with the prior study pulmonary edema has increased.", 2),
    ("Pulmonary edema has not changed.", 2),
    ("Partially resolved pulmonary edema.", 2),
    ("Resolving pulmonary edema.", 2),
    # negated before
    ("No pulmonary edema.", 0),
    ("No evidence of pulmonary edema or pneumonia.", 0),
    ("Cardiomegaly without vascular congestion.", 0),
    ("No pleural effusion, pneumothorax, or edema.", 0),
    ("Negative for pulmonary edema.", 0),
    ("The lungs are free of edema.", 0),
    ("No overt pulmonary edema is seen.", 0),
    ("There is no convincing sign of pneumonia or pulmonary edema.", 0),
    ("Interval resolution of pulmonary edema.", 0),
    ("No new pulmonary edema.", 0),
    ("There is no vascular congestion or edema.", 0),
    # negated after
    ("Pulmonary edema is not seen.", 0),
    ("Pulmonary edema has resolved.", 0),
    ("Previously noted interstitial edema is no longer present.", 0),
    ("Pulmonary edema is unlikely.", 0),
    ("The pulmonary vasculature is not engorged.", 0),
    # scope ends
    ("No pneumothorax, but mild pulmonary edema.", 2),
    ("No focal consolidation; there is mild vascular congestion.", 1),
    ("No pleural effusion. Interstitial edema.", 2),
    ("No pneumothorax, mild interstitial edema.", 2),
    ("Vascular congestion without frank edema.", 1),
    ("Vascular congestion is present but there is no edema.", 1),
    # uncertain
    ("Cannot exclude mild pulmonary edema.", -1),
    ("Bibasilar opacities may represent edema.", -1),
    ("Possible mild interstitial edema.", -1),
    ("Opacities could reflect edema or infection.", -1),
    ("Edema cannot be excluded.", -1),
    ("Pulmonary edema is not excluded.", -1),
    ("Interstitial markings, edema versus chronic change.", -1),
    ("Questionable vascular congestion.", -1),
    ("Vascular congestion, possibly with mild edema.", 1),
    # past, or elsewhere in the body
    ("History of congestive heart failure.", -1),
    ("Patient with a history of pulmonary edema. No edema today.", 0),
    ("Soft tissue edema around the ankle.", -1),
    # ruled out without the words
    ("No acute cardiopulmonary process.", 0),
    ("No evidence of acute cardiopulmonary disease.", 0),
    ("The lungs are clear.", 0),
    ("Pulmonary vascularity is within normal limits.", 0),
    ("Normal pulmonary vasculature.", 0),
    ("Mild congestion. No acute cardiopulmonary process.", 1),
    # not spoken of
    ("", -1),
    ("Left lower lobe pneumonia.", -1),
    ("The lungs are clear of pneumonia.", -1),
    ("Prominent vasculature accentuated by low lung volumes.", -1),
    ("Diffuse interstitial opacities.", -1),
    # masked words and layout
    ("No XXXX edema.", 0),
    ("Cardiac silhouette , pulmonary edema , NUMBER .", 2),
    ("no acute disease\n\nmild congestion", 1),
]


@pytest.mark.parametrize(("text", "grade"), CASES)
def test_sentence_gets_its_grade(text: str, grade: int) -> None:
    assert edema_grade(text) == grade


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Diffuse interstitial opacities.", 2),
        ("Bilateral perihilar infiltrates.", 3),
        ("Left perihilar infiltrate.", -1),
        ("Interstitial opacities. No pulmonary edema.", 0),
        ("Chronic interstitial thickening.", -1),
        ("Alveolar opacities have improved.", 3),
        ("Interstitial prominence suggests mild vascular congestion.", 1),
        ("Perihilar opacities. Mild interstitial edema.", 2),
    ],
)
def test_described_opacities_count_for_patients_with_heart_failure(text: str, grade: int) -> None:
    assert edema_grade(text, heart_failure=True) == grade


def test_mentions_tell_where_and_what() -> None:
    mentions = edema_mentions(
        "Vascular congestion without frank edema. Interstitial edema has improved."
    )
    assert [(m.grade, m.status, m.sentence) for m in mentions] == [
        (1, "affirmed", 0),
        (3, "negated", 0),
        (2, "affirmed", 1),
    ]
    assert "Vascular congestion"[mentions[0].begin : mentions[0].end] == "congestion"


@given(st.text(max_size=100))
def test_any_text_has_a_grade(text: str) -> None:
    assert -1 <= edema_grade(text) < len(GRADES)


@given(
    st.sampled_from(CASES),
    st.sampled_from(["Heart size is normal.", "There is a small pleural effusion."]),
)
def test_an_unrelated_sentence_changes_nothing(case: tuple[str, int], other: str) -> None:
    text, grade = case
    assert edema_grade(f"{other} {text}") == grade
    assert edema_grade(text.upper()) == grade


HAND = Path(__file__).parent / "edema_hand_labels.csv"
REPORTS = Path(__file__).parents[2] / ".." / "shared" / "data" / "openi_reports" / "reports.tar.gz"


@pytest.mark.skipif(not REPORTS.exists(), reason="the Open-i reports are not beside the repository")
def test_grades_set_by_hand() -> None:
    from forgetmi.cohort.openi_reports import read_openi_reports

    with HAND.open(newline="") as file:
        hand = {row["report"]: int(row["grade"]) for row in csv.DictReader(file)}
    given = {
        f"CXR{report.number}": edema_grade(report.text)
        for report in read_openi_reports(REPORTS)
        if f"CXR{report.number}" in hand
    }
    assert len(given) == len(hand) == 364
    hits = sum(given[one] > 0 and grade > 0 for one, grade in hand.items())
    assert hits / sum(grade > 0 for grade in given.values()) >= 0.9
    assert hits / sum(grade > 0 for grade in hand.values()) >= 0.9
    assert sum(given[one] == grade for one, grade in hand.items()) >= 348


def test_a_report_without_a_full_stop_takes_no_longer_than_its_length() -> None:
    assert edema_grade("mild edema and " * 500 + "alveolar edema") == 3
