from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.sections import normalised, sections, selected_text

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with CHF  // edema?

 FINDINGS:\x20

 Mild interstitial edema.
 Heart size is top normal.

 IMPRESSION:

 1. Mild edema.
 2. No effusion.
"""


def test_sections_are_split_at_headings() -> None:
    assert sections(REPORT) == (
        ("examination", "CHEST (PA AND LAT)"),
        ("indication", "___ year old woman with CHF // edema?"),
        ("findings", "Mild interstitial edema. Heart size is top normal."),
        ("impression", "1. Mild edema. 2. No effusion."),
    )


def test_selected_text_leaves_the_indication_out() -> None:
    assert (
        selected_text(REPORT)
        == "Mild interstitial edema. Heart size is top normal. 1. Mild edema. 2. No effusion."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS: One. IMPRESSION: Two.", "One. Two."),
        ("IMPRESSION: Two.\nFINDINGS: One.", "One. Two."),
        ("FINDINGS AND IMPRESSION: Both.", "Both."),
        ("FINDINGS: Same.\r\nIMPRESSION: Same.\r\n", "Same."),
        ("FINDINGS: A.\nCONCLUSION: B.\nRECOMMENDATIONS: C.", "A. B. C."),
        (
            " WET READ: early\n   FINAL REPORT\n CHEST, AP\n\n Clear  lungs.",
            "CHEST, AP Clear lungs.",
        ),
        ("Clear lungs.", "Clear lungs."),
        ("FINDINGS:\nIMPRESSION: Only this.", "Only this."),
        ("", ""),
    ],
)
def test_selected_text(text: str, expected: str) -> None:
    assert selected_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A 3.5 cm nodule.", "A NUMBER cm nodule ."),
        ("Two effusions, 1,200 mL; second rib", "NUMBER effusions , NUMBER mL ; NUMBER rib"),
        ("T9-T10 and 3rd rib, 1/2", "T9-T10 and NUMBER rib , NUMBER"),
        ("on 12/31/2019 at 10:45", "on 12/31/2019 at 10:45"),
        ("end.. of -- it", "end . of - it"),
        ("seen on ___, unchanged", "seen on , unchanged"),
        ("mild-to-moderate edema", "mild-to-moderate edema"),
        ("patient's", "patient's"),
        ("no no edema", "no no edema"),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected


@given(st.text(alphabet="ab 1.,;-_", max_size=60))
def test_normalised_text_stays_as_it_is(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert once.split() == once.split(" ") or once == ""
