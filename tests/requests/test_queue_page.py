"""``forgetmi requests page``: made from a ledger, and made anew by the commands that change it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from forgetmi.commands.requests.group import requests
from forgetmi.commands.requests.queue_rows import papers
from forgetmi.core.errors import EvidenceError, SpecError
from forgetmi.evidence.record import Record
from forgetmi.requests.entries import Entry
from forgetmi.requests.ledger import Ledger


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a list of one patient."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "who.csv").write_text("patient_id\nsecret-person-17\n")
    return tmp_path


def test_a_page_follows_the_ledger(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = there / "queue.html"
    requests(["add", "--who", "who.csv", "--received", "2026-01-31", "--page", "queue.html"])
    first = page.read_text(encoding="utf-8")

    assert 'data-number="R0001"' in first
    assert 'data-due="2026-02-28"' in first
    assert 'data-state="open"' in first

    requests(["close", "R0001", "--state", "refused", "--note", "not ours", "--page", "queue.html"])
    second = page.read_text(encoding="utf-8")
    assert 'data-state="refused"' in second

    # By itself, for another day; the page names nobody and the ledger's file is only read
    before = (there / "requests.sqlite").read_bytes()
    requests(["page", "--out", "queue.html", "--today", "2026-02-20"])
    third = page.read_text(encoding="utf-8")
    assert "The ledger as of <time" in third
    assert 'datetime="2026-02-20"' in third
    assert "secret-person" not in first + second + third
    assert (there / "requests.sqlite").read_bytes() == before
    assert "Queue: queue.html" in capsys.readouterr().out


def test_a_closed_request_points_to_the_papers_that_are_there(there: Path) -> None:
    day = date(2026, 1, 31)
    entry = Entry(1, day, day, "gdpr", "", "all_studies", "closed", 1, "", ("ab",), ())

    # The page lies beside the runs; addresses are quoted
    run = there / "run 1#"
    run.mkdir()
    for name in ("report.html", "letter.html", "record.json"):
        (run / name).write_text("")
    assert papers(entry, run, there) == {
        "report": "run%201%23/report.html",
        "letter": "run%201%23/letter.html",
        "record": "run%201%23/record.json",
    }

    # A letter of the request's own, where several were answered together; what is gone is not pointed to
    (run / "letter-R0001.html").write_text("")
    (run / "report.html").unlink()
    assert papers(entry, run, there / "elsewhere") == {
        "letter": "../run%201%23/letter-R0001.html",
        "record": "../run%201%23/record.json",
    }


def test_what_a_run_found_is_shown_although_it_closes_nothing(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests(["add", "--who", "who.csv", "--received", "2026-01-31"])
    run = there / "run"
    run.mkdir()
    (run / "report.html").write_text("")

    # A record as far as the ledger reads it; the later one is shown
    for verdict, at in (("NOT RESOLVABLE", "2026-02-02"), ("NOT FORGOTTEN", "2026-02-01")):
        record = SimpleNamespace(
            digest=f"record of {at}", decision=SimpleNamespace(outcome=verdict), written=at
        )
        ledger = Ledger(there / "requests.sqlite")
        for _ in range(2):
            ledger.keep_results([1], cast(Record, record), folder=run)
        assert ledger.entries()[0].state == "open"
        ledger.close()

    capsys.readouterr()
    requests(["page", "--out", "queue.html", "--today", "2026-02-20", "--json"])
    assert json.loads(capsys.readouterr().out) == {"page": "queue.html"}
    page = (there / "queue.html").read_text(encoding="utf-8")
    assert 'data-verdict="NOT RESOLVABLE"' in page
    assert 'href="run/report.html"' in page
    assert "8 days left" in page

    # Moved with its runs, the ledger still finds them
    moved = there / "moved"
    moved.mkdir()
    (there / "requests.sqlite").rename(moved / "requests.sqlite")
    run.rename(moved / "run")
    requests(["page", "--out", "queue.html", "--ledger", "moved/requests.sqlite"])
    assert 'href="moved/run/report.html"' in (there / "queue.html").read_text(encoding="utf-8")


def test_another_file_is_not_written_over_and_the_ledger_stays(there: Path) -> None:
    (there / "notes.html").write_text("<!doctype html>mine")
    with pytest.raises(SpecError, match="another file has the name of the page"):
        requests(["add", "--who", "who.csv", "--page", "notes.html"])
    with pytest.raises(SpecError, match="folder of the page is missing"):
        requests(["add", "--who", "who.csv", "--page", "nowhere/queue.html"])

    assert (there / "notes.html").read_text() == "<!doctype html>mine"
    assert not (there / "requests.sqlite").exists()


def test_without_a_ledger_there_is_no_page(there: Path) -> None:
    with pytest.raises(EvidenceError, match="ledger"):
        requests(["page", "--out", "queue.html"])
    assert not (there / "queue.html").exists()
