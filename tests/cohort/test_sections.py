from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.edema_labels import edema_grade
from forgetmi.cohort.headings import kind_of
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
    "inner", ["LUNGS", "Lungs", "HEART", "NOTE", "BONES", "OTHER", "Right lung"]
)
def test_headings_inside_the_findings_belong_to_them(inner: str) -> None:
    text = (
        f"INDICATION: CHF.\nFINDINGS:\n {inner}: Severe pulmonary edema.\n IMPRESSION: Large heart."
    )
    assert sections(text)[1] == ("findings", f"{inner}: Severe pulmonary edema.")
    assert selected_text(text) == f"{inner}: Severe pulmonary edema. Large heart."
    assert edema_grade(selected_text(text)) == 3


def test_every_known_heading_ends_the_findings() -> None:
    for heading in (
        "COMPARISON",
        "CLINICAL HISTORY",
        "TECHNIQUE",
        "NOTIFICATION",
        "PRIOR COMPARISON",
    ):
        text = f"FINDINGS: Clear.\n{heading}: Edema earlier.\nIMPRESSION: Normal."
        assert selected_text(text) == "Clear. Normal.", heading


@pytest.mark.parametrize(
    "text",
    [
        "INDICATION: Edema?\nFindings: Clear.\nImpression: Normal.",
        "Indication: Edema? Findings: Clear. Impression: Normal.",
        "Clinical History: Edema?\nFindings:\nClear.\nImpression:\nNormal.",
        "Indication: Edema?\n\nFindings\nClear.\n\nImpression\nNormal.",
        "indication: edema\nfindings: Clear.\nimpression: Normal.",
        "**Indication:** Edema?\n**FINDINGS:** Clear.\n**IMPRESSION:** Normal.",
        "## Indication\nEdema?\n## Findings\nClear.\n## Impression\nNormal.",
        "INDICATION: Edema?\rFINDINGS: Clear.\rIMPRESSION: Normal.",
        "\ufeffINDICATION: Edema?\n\xa0FINDINGS\xa0:\xa0Clear.\nIMPRESSION\uff1aNormal.",
        "INDICATION: Edema?\nFINDINGS: Clear.\nIMPRESSION - Normal.",
        "INDICATION: Edema?\nFINDINGS: Clear.\nIMPRESSON: Normal.",
        "FINDINGS: Clear. COMPARISON: Edema earlier. IMPRESSION: Normal.",
        "EXAM: Edema?\nFindings: Clear.\nImpression: Normal.\nElectronically signed by: Edema",
    ],
)
def test_case_and_form_of_headings_do_not_matter(text: str) -> None:
    assert selected_text(text) == "Clear. Normal."


@pytest.mark.parametrize(
    "text",
    [
        "FINAL REPORT\nFINDINGS: Clear.\nFINAL ADDENDUM\n Edema after all.",
        "FINAL REPORT\nFINDINGS: Clear.\nFINAL ADDENDUM:\n Edema after all.",
        "FINAL REPORT\nFINDINGS: Clear.\nADDENDUM: Edema after all.\nNOTIFICATION: By telephone.",
        "FINAL REPORT\nFINDINGS: Clear.\nAddendum: Edema after all.",
        "FINAL REPORT\nFINDINGS: Clear.\nADDENDUM TO REPORT OF ___ : Edema after all.",
        "FINDINGS: Clear.\n*** ADDENDUM ***\nEdema after all.",
        "  FINAL ADDENDUM\n ADDENDUM\n\n Edema after all.\n"
        + "_" * 70
        + "\n  FINAL REPORT\n INDICATION: CHF.\n FINDINGS: Clear.",
    ],
)
def test_an_addendum_is_kept_and_stands_last(text: str) -> None:
    assert selected_text(text) == "Clear. Edema after all."
    assert edema_grade(selected_text(text)) == 2


def test_an_addendum_before_a_report_without_sections_is_kept() -> None:
    text = "FINAL ADDENDUM\nEdema after all.\nFINAL REPORT\nClear lungs."
    assert selected_text(text) == "Clear lungs. Edema after all."
    assert selected_text("FINAL REPORT\nClear.\nADDENDUM: Edema.") == "Clear. ADDENDUM: Edema."


def test_a_preliminary_reading_is_left_out() -> None:
    text = "WET READ: ___ 7:02 PM\nFINDINGS: Edema.\n\nFINAL REPORT\nFINDINGS: Clear."
    assert selected_text(text) == "Clear."


def test_organs_and_views_begin_the_findings_of_a_report_that_names_none() -> None:
    text = "TECHNIQUE: PA.\nLUNGS: Severe edema.\nHEART: Large.\nIMPRESSION: Edema."
    assert selected_text(text) == "LUNGS: Severe edema. HEART: Large. Edema."
    assert (
        selected_text("CHEST, PA AND LATERAL:\n\nEdema.\nHISTORY: CHF.\nIMPRESSION: Bad.")
        == "Edema. Bad."
    )
    assert selected_text("CHEST, TWO VIEWS: 1/2/2019\nHISTORY: CHF.\nFINDINGS: Clear.") == "Clear."


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("FINDINGS", "finding"),
        ("Recommendation(s)", "recommendation"),
        ("FINDINGS/ IMPRESSION", "finding"),
        ("Impression and recommendations", "impression"),
        ("CHEST FINDINGS", "finding"),
        ("Reason for exam", "other"),
        ("INDICATION AND COMPARISON", "other"),
        ("PORTABLE AP CHEST", "view"),
        ("Lungs and pleura", "organ"),
        ("Lungs/heart", "organ"),
        ("CHEST PAIN", None),
        ("NOTE", None),
        ("There is no comparison", None),
        ("Impression/plan", "impression"),
        ("Findings (chest)", "finding"),
        ("Chest x-ray findings", "finding"),
        ("Overall impression", "impression"),
        ("The following are the findings", None),
        ("Prior history", None),
    ],
)
def test_kinds_of_headings(heading: str, kind: str | None) -> None:
    assert kind_of(heading) == kind


@given(
    st.lists(
        st.sampled_from(
            [
                "FINDINGS:",
                "Indication:",
                "LUNGS:",
                "edema.",
                "\n",
                " ",
                "ADDENDUM",
                "FINAL REPORT",
                ":",
            ]
        ),
        max_size=25,
    )
)
def test_no_word_of_a_section_is_lost_or_invented(parts: list[str]) -> None:
    text = "".join(parts)
    bodies = " ".join(body for _, body in sections(text))
    assert bodies.count("edema.") == text.count("edema.")


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


@pytest.mark.parametrize("mark", [" ", "\t", "\xa0", "*", "_", "-"])
def test_a_long_row_of_one_mark_takes_no_longer_than_its_length(mark: str) -> None:
    row = mark * 100_000
    assert selected_text(f"FINDINGS: clear{row}.\nHeart{row}x\nIMPRESSION: none").endswith("none")


@pytest.mark.parametrize(
    "end",
    [
        "\\.br\\",
        "\\n",
        "\\r\\n",
        "\\X0D\\\\X0A\\",
        "_x000D_\n",
        "<br/>",
        "</p><p>",
        "\n• ",
        "\n> ",
        "\n",
    ],
)
@pytest.mark.parametrize("colon", [": ", " - "])
def test_line_ends_as_programs_write_them(end: str, colon: str) -> None:
    parts = ["INDICATION{}severe edema", "FINDINGS{}clear", "IMPRESSION{}none"]
    text = end.join(part.format(colon) for part in parts)
    begin = "\n" if end[0] == "\n" else end
    assert selected_text(begin + text) == "clear none"


def test_the_background_between_read_sections_of_one_line() -> None:
    text = "Findings: clear. Indication: severe edema. Impression: none."
    assert selected_text(text) == "clear. none."
    text = "Findings: clear. Heart: normal. Comparison: none. Impression: none."
    assert selected_text(text) == "clear. Heart: normal. Comparison: none. none."


def test_a_preliminary_report_before_the_final_one_is_left_out() -> None:
    final = "FINAL REPORT\nFINDINGS: clear"
    assert selected_text(f"PRELIMINARY REPORT\nFINDINGS: edema\n{final}") == "clear"
    assert selected_text("PRELIMINARY REPORT\nFINDINGS: edema") == "edema"
