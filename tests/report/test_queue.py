"""The page of the queue: what it says, in which order, and that it stays whole whatever the ledger holds."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import date
from html.parser import HTMLParser

import pytest

from forgetmi.report.queue import MARK, SIGNS, QueueRow, render_queue

TODAY = date(2026, 3, 10)
HOSTILE = "<script>alert(1)</script>&\"'{{ 7*7 }}\u202eevil\x00"


def row(number: int, due: str, **values: object) -> QueueRow:
    given: dict[str, object] = {
        "patients": 1,
        "studies": 0,
        "received": date(2026, 2, 1),
        "state": "open",
        "ground": "GDPR Art. 17, erasure",
    }
    return QueueRow(f"R{number:04}", due=date.fromisoformat(due), **(given | values))  # type: ignore[arg-type]


PAPERS = {"report": "runs/1/report.html", "record": "runs/1/record.json"}
ROWS = [
    row(1, "2026-03-01", patients=3),
    row(2, "2026-03-10"),
    row(3, "2026-03-17", state="processing"),
    row(4, "2026-03-18", patients=0, studies=2, state="on_hold"),
    row(
        5, "2026-02-20", state="closed", ended=date(2026, 2, 20), verdict="FORGOTTEN", papers=PAPERS
    ),
    row(6, "2026-02-20", state="closed", ended=date(2026, 2, 22), verdict="NOT RESOLVABLE"),
    row(7, "2026-02-20", state="refused", ended=date(2026, 2, 3)),
]


class Table(HTMLParser):
    """Data of each row, and all tags and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if "data-number" in values:
            self.rows.append(values)
        self.addresses += [values[name] or "" for name in ("href", "src") if name in values]


def text_of(page: str) -> str:
    body = page.partition("</style>")[2].partition("<script>")[0]
    return " ".join(re.sub("<[^>]*>", " ", body).split())


@pytest.fixture(scope="module")
def page() -> str:
    return render_queue(ROWS, today=TODAY)


def test_what_is_pending_comes_first_the_most_urgent_on_top(page: str) -> None:
    numbers = [one["data-number"] for one in Table(page).rows]
    assert numbers == ["R0001", "R0002", "R0003", "R0004", "R0005", "R0006", "R0007"]
    assert render_queue(ROWS[::-1], today=TODAY) == page


def test_days_left_have_a_sign_and_words_besides_their_colour(page: str) -> None:
    text = text_of(page)
    for part in (
        f"R0001 3 patients; GDPR Art. 17, erasure 2026-02-01 2026-03-01 {SIGNS['overdue']} overdue by 9 days open",
        f"2026-03-10 {SIGNS['soon']} due today open none yet none yet",
        f"2026-03-17 {SIGNS['soon']} 7 days left being carried out",
        f"R0004 2 studies; GDPR Art. 17, erasure 2026-02-01 2026-03-18 {SIGNS['later']} 8 days left on hold",
        f"{SIGNS['done']} closed on 2026-02-20, in time closed FORGOTTEN report record",
        "closed on 2026-02-22, 2 days late closed NOT RESOLVABLE none",
        "refused on 2026-02-03, in time refused none none",
        "1 overdue",
        "2 due within 7 days",
        "3 closed or refused",
    ):
        assert part in text
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_the_page_is_whole_and_runs_its_own_script_alone(page: str) -> None:
    table = Table(page)

    assert page.startswith(MARK)
    assert set(table.addresses) == {
        "#content",
        "#terms",
        "data:,",
        "runs/1/report.html",
        "runs/1/record.json",
    }
    assert not {"iframe", "img", "object", "embed"} & set(table.tags)
    assert "http:" not in page
    assert "https:" not in page
    assert table.tags.count("script") == 1

    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_hostile_words_stay_words() -> None:
    hostile = row(8, "2026-03-11", ground=HOSTILE, verdict=HOSTILE, papers={HOSTILE: '"><script>'})
    page = render_queue([hostile], today=TODAY)

    assert Table(page).tags.count("script") == 1
    assert "<script>alert" not in page
    assert not set("\u202e\x00") & set(page)
    assert "{{ 7*7 }}" in page


def test_an_empty_ledger_has_a_page_without_a_script() -> None:
    page = render_queue([], today=TODAY)
    assert "There are no requests in the ledger." in text_of(page)
    assert "script" not in Table(page).tags


def test_words_of_a_single_day_and_of_an_unknown_end() -> None:
    assert row(1, "2026-03-11").time_left(TODAY) == "1 day left"
    assert row(1, "2026-03-09").time_left(TODAY) == "overdue by 1 day"
    assert row(1, "2026-03-09", state="closed").time_left(TODAY) == "closed"
