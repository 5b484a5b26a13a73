"""Figures of the audit: rates by hand, stable bytes, and what a picture says in words."""

from __future__ import annotations

import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.audit.rows import RelearnCurve
from forgetmi.core.errors import SpecError
from forgetmi.report import figure_text, forest_figure, patient_figure, relearn_figure, roc_figure
from forgetmi.report.forest_figure import ForestRow
from forgetmi.report.number_text import brief, clean
from forgetmi.report.patient_figure import PatientMark
from forgetmi.report.pdf import write_pdfs
from forgetmi.report.relearn_figure import Relearned
from forgetmi.report.roc_figure import Curve, rates

SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.9])


def draw(kind: str) -> str:
    match kind:
        case "roc":
            return roc_figure.roc_panel(
                "r",
                "Radiograph",
                [Curve("original", SCORES + 1, SCORES), Curve("unlearned", SCORES, SCORES)],
            )
        case "strip":
            people = [
                PatientMark("0123abcd", 4.2, "remembered", "100 %"),
                PatientMark("$x_1$ <b>", -0.5, "", "30 %"),
            ]
            return patient_figure.strip_panel("s", "Patients", people, never_seen=SCORES)
        case "forest":
            rows = [
                ForestRow("sex"),
                ForestRow("F", 0.62, (0.5, 0.7)),
                ForestRow("M", note="too few to say"),
                ForestRow("zero", 0.0),
            ]
            return forest_figure.forest_panel(
                "f", "Subgroups", rows, axis="AUC", neutral=0.5, span=(0, 1), margin=0.2
            )
        case _:
            return relearn_figure.relearn_panel(
                "l", "Relearning", [Relearned("unlearned", SCORES)], threshold=0.2
            )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("roc", "original: true-positive rate 1.00 without a false alarm"),
        ("strip", "0123abcd 4.20, stands out"),
        ("forest", "F: 0.62 (0.50 to 0.70). M: too few to say. zero: 0.00."),
        ("relearn", "0.1 before, 0.9 after 4 epochs"),
    ],
)
def test_figures_are_stable_and_said_in_words(kind: str, words: str) -> None:
    picture = draw(kind)

    assert picture == draw(kind)
    assert "http" not in picture

    description = ET.fromstring(picture).find("desc")

    assert description is not None
    assert words in (description.text or "")


def test_rates_by_hand() -> None:
    false, true = rates(Curve("unlearned", np.array([3.0, 1.0]), np.array([2.0, 1.0, 0.0, 0.0])))

    assert list(zip(false, true, strict=True)) == [
        (0, 0),
        (0, 0.5),
        (0.25, 0.5),
        (0.5, 1.0),
        (1, 1),
    ]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
@settings(max_examples=50, deadline=None)
def test_area_under_the_rates_is_the_auc(inside: list[int], outside: list[int]) -> None:
    members, never_seen = np.array(inside, float), np.array(outside, float)
    false, true = rates(Curve("original", members, never_seen))
    area = float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())
    wins = (members[:, None] > never_seen).mean() + (members[:, None] == never_seen).mean() / 2

    assert area == pytest.approx(wins)
    assert (np.diff(false) >= 0).all()


def test_the_smallest_rate_the_patients_allow_is_marked() -> None:
    words = "".join(ET.fromstring(draw("roc")).itertext())
    assert "1/5" in words
    assert "the smallest false-positive rate they allow is 0.2" in words


def test_text_from_outside_is_cleaned_and_shortened() -> None:
    assert clean("a\u202eb\x00c\nd") == "abc\nd"
    assert clean("Ünïcode ہے ✓") == "Ünïcode ہے ✓"
    assert brief("word " * 40, 10) == "word word…"
    assert brief("short\n text") == "short text"


def test_pdf_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(SpecError, match=r"forgetmi\[pdf\]"):
        write_pdfs([tmp_path / "report.html"])


def test_pdf_prints_each_page_and_may_load_only_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Printer:
        def __init__(self, *, string: str, url_fetcher: tuple[str, ...]) -> None:
            self.string, self.allowed = string, url_fetcher

        def write_pdf(self, *, pdf_variant: str) -> bytes:
            return f"%PDF {self.string} {self.allowed} {pdf_variant}".encode()

    monkeypatch.setitem(sys.modules, "weasyprint", types.SimpleNamespace(HTML=Printer))  # type: ignore[arg-type]

    monkeypatch.setitem(
        sys.modules,
        "weasyprint.urls",
        types.SimpleNamespace(  # type: ignore[arg-type]
            URLFetcher=lambda allowed_protocols: allowed_protocols
        ),
    )

    (tmp_path / "report.html").write_text("page")

    assert write_pdfs([tmp_path / "report.html"]) == (tmp_path / "report.pdf",)
    assert (tmp_path / "report.pdf").read_text() == "%PDF page ('data',) pdf/ua-1"
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "report.pdf"}


def test_the_area_under_relearning_stands_beside_the_epochs() -> None:
    def curve(model: str, *losses: float) -> RelearnCurve:
        return RelearnCurve(0, model, "image", losses, losses, 0.2, 0.2, 2, model == "unlearned")

    # Areas above 0.2: (0.4 + 0.2) / 2 + 0.2, and twice that
    unlearned = curve("unlearned", 0.6, 0.4, 0.4)
    retrained = curve("retrain-0", 1.0, 0.6, 0.6)
    assert figure_text.relearning([unlearned, retrained]) == (
        "the new model not within 2 epochs; retrained models 2 epochs; area above it 0.50 of theirs"
    )
    assert "area" not in figure_text.relearning([unlearned])
    assert "area" not in figure_text.relearning([unlearned, curve("retrain-0", 0.1, 0.1)])
