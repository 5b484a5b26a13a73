"""The pages in a real browser: sorting, filtering, typing, printing; nothing is loaded, nothing runs over the edge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgetmi.report import rendering
from forgetmi.report.content import ReportFacts
from forgetmi.report.pages import write_report
from forgetmi.report.queue import render_queue
from forgetmi.report.queue_year import DriftPoint
from tests.browsing import DESKTOP, PHONE, THEMES, Watched, chromium
from tests.figures import blank_figures
from tests.report.conftest import make_audit
from tests.report.test_patient_page import page as patient_page
from tests.report.test_queue import ROWS, TODAY
from tests.report.test_withdrawal_pages import MEMORY, ONE

PAGES = ("queue", "report", "engineer", "letter", "explain")
LATER = "2026-03-19T12:00:00"  # nine days after the page was written


@pytest.fixture(scope="module")
def folder(facts: ReportFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a withdrawal and the queue, as files."""
    folder = tmp_path_factory.mktemp("pages")
    audit = replace(make_audit(), memory=MEMORY)
    with blank_figures():
        rendering._environment.cache_clear()
        write_report(
            folder / "report.html", replace(facts, signals={}, audit=audit, withdrawal=ONE)
        )
    rendering._environment.cache_clear()

    drift = [DriftPoint("before", 0.76, None), DriftPoint("2026-02-20", 0.75, 0.02)]
    queue = render_queue(ROWS, today=TODAY, drift=drift)
    (folder / "queue.html").write_text(queue, encoding="utf-8")
    (folder / "explain.html").write_text(patient_page(0.9, (0.5, 0.6, 0.7)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def numbers(watched: Watched) -> list[str | None]:
    """Requests that are shown, from top to bottom."""
    rows = watched.page.locator("tbody tr:visible").all()
    return [row.get_attribute("data-number") for row in rows]


@pytest.fixture
def queue(browser: Any, folder: Path) -> Iterator[Watched]:
    watched = Watched(browser, folder / "queue.html", time=LATER)
    yield watched
    watched.close()
    assert not watched.complaints


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_load_nothing_and_do_not_complain(
    browser: Any, folder: Path, name: str, size: tuple[int, int]
) -> None:
    watched = Watched(browser, folder / f"{name}.html", size, time=LATER)
    assert watched.wider_than_its_window() == 0
    assert not watched.complaints
    assert not watched.loaded()
    watched.close()


def test_days_are_counted_anew_by_the_readers_clock(queue: Watched) -> None:
    text = " ".join(queue.page.inner_text("body").split())
    assert "The ledger as of 2026-03-10; days are counted to 2026-03-19." in text
    assert "overdue by 18 days" in text  # R0001
    assert "overdue by 1 day " in text  # R0004
    assert queue.page.inner_text("[data-count=overdue]") == "4"
    assert queue.page.inner_text("[data-count=soon]") == "0"
    assert "closed on 2026-02-22, 2 days late" in text


def test_the_queue_is_sorted_by_its_headings(queue: Watched) -> None:
    page = queue.page
    urgent = ["R0001", "R0002", "R0003", "R0004", "R0005", "R0006", "R0007"]
    assert numbers(queue) == urgent

    # A second click sorts the other way round, and says so
    page.get_by_role("button", name="Due").click()
    assert numbers(queue)[:3] == ["R0005", "R0006", "R0007"]
    assert page.get_attribute("th[data-key=due]", "aria-sort") == "ascending"
    page.get_by_role("button", name="Due").click()
    assert numbers(queue)[:3] == ["R0004", "R0003", "R0002"]
    assert page.get_attribute("th[data-key=due]", "aria-sort") == "descending"

    # Without a verdict comes last either way
    page.get_by_role("button", name="Verdict").click()
    assert numbers(queue)[:2] == ["R0005", "R0006"]
    page.get_by_role("button", name="Verdict").click()
    assert numbers(queue)[:2] == ["R0006", "R0005"]

    page.locator("[name=sort]").select_option("")
    assert numbers(queue) == urgent
    assert page.locator("th[aria-sort]").count() == 0


def test_the_queue_is_filtered(queue: Watched) -> None:
    page = queue.page
    page.locator("[name=state]").select_option("closed")
    assert numbers(queue) == ["R0005", "R0006"]
    assert page.inner_text("output") == "2 of 7 shown"

    page.locator("[name=verdict]").select_option("FORGOTTEN")
    assert numbers(queue) == ["R0005"]
    page.locator("[name=state]").select_option("")
    page.locator("[name=verdict]").select_option("none")
    page.locator("[name=urgency]").select_option("overdue")
    assert numbers(queue) == ["R0001", "R0002", "R0003", "R0004"]

    page.locator("[name=find]").fill("r0003")
    assert numbers(queue) == ["R0003"]
    page.locator("[name=find]").fill("nobody")
    assert numbers(queue) == []

    # Enter in the field leads nowhere
    page.locator("[name=find]").press("Enter")
    assert page.url.endswith("queue.html")


def test_without_a_script_the_queue_says_the_same(browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "queue.html").as_uri())
    text = page.inner_text("body")

    assert "overdue by 9 days" in text
    assert page.locator("#choose").is_hidden()
    assert page.locator("tbody tr:visible").count() == len(ROWS)
    context.close()


def test_the_letter_is_filled_in_by_keyboard(browser: Any, folder: Path) -> None:
    watched = Watched(browser, folder / "letter.html", PHONE, time=LATER)
    page = watched.page

    # Past the navigation, which a key skips
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")

    # Then blank after blank, from top to bottom
    labels = page.evaluate(
        "[...document.querySelectorAll('.blank')].map(blank => blank.getAttribute('aria-label'))"
    )
    reached = []
    for _ in range(len(labels) + 3):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert [label for label in reached if label] == labels

    name = page.get_by_role("textbox", name="Name of the person")
    name.fill("Ada Example")
    assert "Dear Ada Example" in page.inner_text("article")
    assert not watched.complaints
    watched.close()


def test_prints_as_few_pages_without_what_is_for_the_screen(browser: Any, folder: Path) -> None:
    most = {"queue": 2, "letter": 1, "report": 6}
    for name, limit in most.items():
        watched = Watched(browser, folder / f"{name}.html", time=LATER)
        printed = watched.page.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= limit, name

        watched.page.emulate_media(media="print")
        for hidden in ("nav.pack", ".choose", ".hint", ".skip"):
            assert watched.page.locator(f"{hidden}:visible").count() == 0, (name, hidden)
        watched.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_axe_finds_no_barrier(
    browser: Any, folder: Path, size: tuple[int, int], theme: str
) -> None:
    found = {}
    for name in PAGES:
        # The pages allow no script but their own; here one is tried on them
        watched = Watched(browser, folder / f"{name}.html", size, theme=theme, free=True)
        found[name] = watched.barriers()
        watched.close()
    assert found == {name: [] for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_a_dark_page_is_dark_and_prints_on_white(browser: Any, folder: Path, name: str) -> None:
    dark = Watched(browser, folder / f"{name}.html", theme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert dark.page.evaluate(background) == "rgb(22, 28, 34)"

    dark.page.emulate_media(media="print")
    assert dark.page.evaluate(background) == "rgb(255, 255, 255)"
    dark.close()
