"""The pages in a real browser: sorting, filtering, typing, printing; nothing is loaded, nothing runs over the edge."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgetmi.report import rendering
from forgetmi.report.content import ReportFacts
from forgetmi.report.pages import write_report
from forgetmi.report.queue import render_queue
from tests.figures import blank_figures
from tests.report.conftest import make_audit
from tests.report.test_queue import ROWS, TODAY
from tests.report.test_withdrawal_pages import MEMORY, ONE

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pages are not tried in a browser"
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium to try the pages in")

DESKTOP, PHONE = (1280, 900), (390, 844)
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

    (folder / "queue.html").write_text(render_queue(ROWS, today=TODAY), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Watched:
    """A page of a browser with everything that it complained of or asked a network for."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int]) -> None:
        width, height = size
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.clock.set_fixed_time(LATER)
        self.page.goto(path.as_uri())

    def numbers(self) -> list[str]:
        """Requests that are shown, from top to bottom."""
        rows = self.page.locator("tbody tr:visible").all()
        return [row.get_attribute("data-number") for row in rows]


@pytest.fixture
def queue(browser: Any, folder: Path) -> Iterator[Watched]:
    watched = Watched(browser, folder / "queue.html", DESKTOP)
    yield watched
    watched.page.close()
    assert not watched.complaints


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["queue", "report", "engineer", "letter"])
def test_pages_fit_load_nothing_and_do_not_complain(
    browser: Any, folder: Path, name: str, size: tuple[int, int]
) -> None:
    path = folder / f"{name}.html"
    watched = Watched(browser, path, size)
    edges = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, room = watched.page.evaluate(edges)
    watched.page.close()

    assert wide <= room == size[0]
    assert not watched.complaints
    assert {url for url in watched.requests if not url.startswith("data:")} == {path.as_uri()}


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
    assert queue.numbers() == urgent

    # A second click sorts the other way round, and says so
    page.get_by_role("button", name="Due").click()
    assert queue.numbers()[:3] == ["R0005", "R0006", "R0007"]
    assert page.get_attribute("th[data-key=due]", "aria-sort") == "ascending"
    page.get_by_role("button", name="Due").click()
    assert queue.numbers()[:3] == ["R0004", "R0003", "R0002"]
    assert page.get_attribute("th[data-key=due]", "aria-sort") == "descending"

    # Without a verdict comes last either way
    page.get_by_role("button", name="Verdict").click()
    assert queue.numbers()[:2] == ["R0005", "R0006"]
    page.get_by_role("button", name="Verdict").click()
    assert queue.numbers()[:2] == ["R0006", "R0005"]

    page.locator("[name=sort]").select_option("urgency")
    assert queue.numbers() == urgent
    assert page.locator("th[aria-sort]").count() == 0


def test_the_queue_is_filtered(queue: Watched) -> None:
    page = queue.page
    page.locator("[name=state]").select_option("closed")
    assert queue.numbers() == ["R0005", "R0006"]
    assert page.inner_text("output") == "2 of 7 shown"

    page.locator("[name=verdict]").select_option("FORGOTTEN")
    assert queue.numbers() == ["R0005"]
    page.locator("[name=state]").select_option("")
    page.locator("[name=verdict]").select_option("none")
    page.locator("[name=urgency]").select_option("overdue")
    assert queue.numbers() == ["R0001", "R0002", "R0003", "R0004"]

    page.locator("[name=find]").fill("r0003")
    assert queue.numbers() == ["R0003"]
    page.locator("[name=find]").fill("nobody")
    assert queue.numbers() == []

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
    watched = Watched(browser, folder / "letter.html", PHONE)
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
    page.close()


def test_prints_as_few_pages_without_what_is_for_the_screen(browser: Any, folder: Path) -> None:
    most = {"queue": 1, "letter": 1, "report": 6}
    for name, limit in most.items():
        watched = Watched(browser, folder / f"{name}.html", DESKTOP)
        printed = watched.page.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= limit, name

        watched.page.emulate_media(media="print")
        for hidden in ("nav.pack", ".choose", ".hint", ".skip"):
            assert watched.page.locator(f"{hidden}:visible").count() == 0, (name, hidden)
        watched.page.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_axe_finds_no_barrier(browser: Any, folder: Path, size: tuple[int, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is missing")
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")

    # The pages allow no script but their own; here one is tried on them
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True)
    page = context.new_page()
    for name in ("queue", "report", "engineer", "letter"):
        page.goto((folder / f"{name}.html").as_uri())
        page.evaluate(script)
        found = page.evaluate("axe.run()")
        assert [barrier["id"] for barrier in found["violations"]] == [], name
    context.close()
