"""The pages as PDF: few, tagged, and with films no larger than a browser prints them."""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forgetmi.report.content import Example, ReportFacts
from forgetmi.report.pages import write_report
from forgetmi.report.pdf import write_pdfs
from tests.report.conftest import make_audit
from tests.report.test_withdrawal_pages import MEMORY, ONE

pytestmark = pytest.mark.slow
pytest.importorskip("weasyprint", reason="weasyprint is not installed: no page is printed to PDF")

MOST_PAGES = {"report": 6, "letter": 1}
MOST_SECONDS = 15  # of processor time, all pages together


def opened(content: bytes) -> bytes:
    """A PDF with every stream that can be unpacked."""
    parts = [content]
    for match in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            parts.append(zlib.decompress(match[1]))
        except zlib.error:
            continue
    return b"\n".join(parts)


@pytest.fixture(scope="module")
def printed(facts: ReportFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report with six films of 64 pixels, and its neighbours; printed within the time allowed."""
    folder = tmp_path_factory.mktemp("printed")
    film = np.random.default_rng(0).random((64, 64))
    films = tuple(Example(film, f"withdrawn, grade {place}") for place in range(6))
    audit = replace(make_audit("NOT FORGOTTEN"), memory=MEMORY)
    pages = write_report(
        folder / "report.html", replace(facts, audit=audit, withdrawal=ONE, examples=films)
    )

    began = time.process_time()
    write_pdfs(pages)
    assert time.process_time() - began < MOST_SECONDS
    return folder


@pytest.mark.parametrize("name", ["report", "engineer", "letter"])
def test_pages_are_few_tagged_and_named(printed: Path, name: str) -> None:
    content = opened((printed / f"{name}.pdf").read_bytes())
    pages = len(re.findall(rb"/Type\s*/Page\b", content))

    assert 1 <= pages <= MOST_PAGES.get(name, 16)
    assert b"/StructTreeRoot" in content
    assert re.search(rb"/Marked\s+true", content)
    assert re.search(rb"/Lang\s*\(en\)", content)
    assert b"pdfuaid" in content

    # What a screen reader steps through
    kinds = set(re.findall(rb"/S\s*/(\w+)", content))
    assert {b"H1", b"H2", b"P"} <= kinds
    if name != "letter":
        assert {b"Table", b"TH", b"TD", b"LI", b"Figure"} <= kinds


def test_films_are_printed_side_by_side(printed: Path) -> None:
    content = opened((printed / "report.pdf").read_bytes())

    # Each film is placed with its width in 96ths of an inch; A4 has 794 of them
    placed = re.findall(rb"([\d.]+) 0 0 -?[\d.]+ [-\d. ]+cm\s*/\S+ Do", content)
    assert len(placed) == 6
    assert all(60 < float(width) < 794 / 6 for width in placed)
