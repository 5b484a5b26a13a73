"""The committee's summary: counts over twelve months, deadlines, verdicts, and the drift of the model in service."""

from __future__ import annotations

import re
from datetime import date

from forgetmi.report.queue import QueueRow, render_queue
from forgetmi.report.queue_year import DriftPoint, year_values

TODAY = date(2026, 3, 10)


def row(number: int, received: date, due: date, ended: date | None, verdict: str = "") -> QueueRow:
    state = "open" if ended is None else "closed"
    return QueueRow(f"R{number:04}", 1, 0, received, due, state, ended=ended, verdict=verdict)


ROWS = (
    row(1, date(2026, 1, 5), date(2026, 2, 5), date(2026, 2, 5), "FORGOTTEN"),
    row(2, date(2026, 1, 9), date(2026, 2, 9), date(2026, 2, 10), "NOT RESOLVABLE"),
    row(3, date(2026, 2, 1), date(2026, 3, 1), None),
    row(4, date(2025, 3, 31), date(2025, 4, 30), date(2025, 4, 2)),
    # More than a year ago: neither received nor ended within
    row(5, date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 31), "FORGOTTEN"),
)
DRIFT = (
    DriftPoint("before", 0.75, None),
    DriftPoint("2026-02-05", 0.742, 0.03),
    DriftPoint("2026-02-10", 0.745, 0.04),
)


def test_months_deadlines_and_verdicts_are_counted() -> None:
    year = year_values(ROWS, DRIFT, today=TODAY)
    months = {month: (received, ended) for month, received, ended in year["months"]}
    assert next(iter(months)) == "2025-04"
    assert list(months)[-1] == "2026-03"
    assert len(months) == 12
    assert months["2026-01"] == (2, 0)
    assert months["2026-02"] == (1, 2)
    assert months["2025-04"] == (0, 1)
    assert year["received"] == 3
    assert year["deadlines"] == {"in time": 2, "late": 1, "overdue now": 1}
    assert year["verdicts"] == {"FORGOTTEN": 1, "NOT RESOLVABLE": 1, "no verdict": 1}


def test_drift_is_told_from_the_first_to_the_last() -> None:
    year = year_values(ROWS, DRIFT, today=TODAY)
    assert (
        "Over 2 runs the AUC on never-seen patients went from 0.750 to 0.745 (-0.005)"
        in (year["drift_words"])
    )
    assert year["drift_figure"].count("<circle") == 3
    assert not year_values(ROWS, (), today=TODAY)["drift_figure"]
    assert "No run has closed" in year_values(ROWS, (), today=TODAY)["drift_words"]


def test_the_days_of_many_runs_do_not_lie_on_each_other() -> None:
    many = [DriftPoint(f"2026-01-{day:02}", 0.7 + day / 1000, None) for day in range(1, 31)]
    figure = str(year_values(ROWS, many, today=TODAY)["drift_figure"])
    assert figure.count("<circle") == 30
    assert len(re.findall(r">2026-01-\d\d</text>", figure)) == 6
    assert ">2026-01-30</text>" in figure


def test_the_highest_bar_is_the_most_frequent() -> None:
    figure = str(year_values(ROWS, (), today=TODAY)["deadline_figure"])
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', figure)]
    assert heights == [132.0, 66.0, 66.0]
    assert "in time: 2; late: 1; overdue now: 1</desc>" in figure


def test_the_page_shows_it_and_an_empty_ledger_has_none() -> None:
    page = render_queue(ROWS, today=TODAY, drift=DRIFT)
    section = page.partition('<section id="year"')[2].partition("</section>")[0]
    assert section.count("<figure>") == 4
    assert "3 received, 3 closed or refused; 2 in time, 1 late, 1 overdue now" in section
    assert "Gap to retrained models: 2026-02-05: 0.030, 2026-02-10: 0.040." in section
    assert "http:" not in page
    assert '<section id="year"' not in render_queue((), today=TODAY)


def test_hostile_words_stay_words() -> None:
    hostile = row(6, TODAY, TODAY, TODAY, "<script>alert(1)</script>")
    page = render_queue((hostile,), today=TODAY)
    section = page.partition('<section id="year"')[2].partition("</section>")[0]
    assert "<script>" not in section
    assert "&lt;script&gt;" in section
