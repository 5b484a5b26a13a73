"""Whatever stands in reports, their archives and their XML: texts, or clear errors that name nobody."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.edema_labels import edema_grade
from forgetmi.cohort.mimic_reports import read_reports
from forgetmi.cohort.openi_reports import read_openi
from forgetmi.cohort.sections import normalised, sections, selected_text
from forgetmi.core.errors import CohortError, Fault
from tests.fuzzing import damaged, fuzz

pytestmark = pytest.mark.slow

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with CHF  // edema?

 FINDINGS:

 LUNGS: Mild interstitial edema.
 Heart size is top normal.

 IMPRESSION:

 1. Mild edema.
                                 FINAL ADDENDUM
 No effusion.
"""
XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR1"/><AbstractText Label="FINDINGS">Clear <b>lungs</b>.</AbstractText>
<AbstractText Label="IMPRESSION">Normal &amp; well.</AbstractText><MeSH><major>normal</major></MeSH>
<parentImage id="CXR1_1_IM-0001-3001"/></eCitation>"""
NAME = "files/p90/p90000001/s95000001.txt"


def test_fuzz_texts_of_reports() -> None:
    pieces = [
        *REPORT.split("\n"),
        *REPORT.split(" "),
        "\n",
        "\r",
        "\x0b",
        "**",
        "：",
        "\ud800",
        "\0",
    ]

    @given(st.lists(st.one_of(st.sampled_from(pieces), st.text(max_size=5)), max_size=40))
    def every_text_has_sections_and_a_grade(parts: list[str]) -> None:
        for joint in ("\n", " "):
            text = joint.join(parts)
            for _, body in sections(text):
                assert body == " ".join(body.split())
                assert body
            assert -1 <= edema_grade(normalised(selected_text(text))) <= 3

    fuzz(every_text_has_sections_and_a_grade)


def openi_or_refused(path: Path) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        assert read_openi(path).reports
    except CohortError as error:
        faults = error.faults
    assert all("\n" not in str(fault) for fault in faults)


def test_fuzz_xml(tmp_path: Path) -> None:
    @given(damaged(XML.encode()))
    def xml_is_read_or_refused(content: bytes) -> None:
        (tmp_path / "1.xml").write_bytes(content)
        openi_or_refused(tmp_path)

    fuzz(xml_is_read_or_refused)


def zipped(name: str, text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return content.getvalue()


def taped(kind: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=kind) as archive:
        member = tarfile.TarInfo("reports/1.xml")
        member.size = len(XML)
        archive.addfile(member, io.BytesIO(XML.encode()))
        link = tarfile.TarInfo("reports/2.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "1.xml"
        archive.addfile(link)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_fuzz_archives_of_xml(tmp_path: Path, kind: str) -> None:
    whole = zipped("reports/1.xml", XML) if kind == "zip" else taped(kind)

    @given(damaged(whole))
    def archives_are_read_or_refused(content: bytes) -> None:
        (tmp_path / "reports").write_bytes(content)
        openi_or_refused(tmp_path / "reports")

    fuzz(archives_are_read_or_refused)


def test_fuzz_the_archive_of_reports(tmp_path: Path) -> None:
    whole = zipped(NAME, REPORT)
    subject, study = np.array(["90000001"], object), np.array(["95000001"], object)

    @given(damaged(whole))
    def archives_are_read_or_refused(content: bytes) -> None:
        path = tmp_path / "reports.zip"
        path.write_bytes(content)
        said = ""
        try:
            texts, _ = read_reports(path, subject, study, normalise=False)
            assert len(texts) == 1
        except CohortError as error:
            said = str(error)
        assert "9500000" not in said
        assert "9000000" not in said

    fuzz(archives_are_read_or_refused)
