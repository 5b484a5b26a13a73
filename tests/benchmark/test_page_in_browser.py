"""The benchmark's page in a real browser: sorting, filtering, keys; nothing is loaded, nothing runs over the edge.

What is sorted and filtered is tried in Chromium alone (slow); the rest needs Playwright.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.planted import COSTS, planted_page
from tests.browsing import CHROMIUM, DESKTOP, PHONE, THEMES, Watched, chromium

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium to try the page in")

# What is done to the page, a step a line; `shown()` writes down which rows are to be seen then
STEPS = """
const form = document.forms.choose;
const set = (name, value, event) => {
  form[name].value = value;
  form[name].dispatchEvent(new Event(event, { bubbles: true }));
};
const head = (key) => document.querySelector(`th[data-key=${key}] button`).click();
const seen = [];
const rows = () => [...document.querySelectorAll(".compared tbody tr:not([hidden])")];
const shown = () => seen.push(rows().map((row) => row.dataset.method).join(" "));
set("percent", "10", "input"); shown();
head("cost"); shown();
head("cost"); shown();
head("gap"); shown();
set("sort", "", "change"); shown();
set("cost", "0.45", "input"); shown();
set("gap", "2", "input"); shown();
set("cost", "", "input"); set("gap", "", "input"); set("family", "gradients, teachers, labels", "input"); shown();
set("family", "", "input"); set("front", "yes", "input"); shown();
seen.push(String(document.querySelectorAll(".front a:not([hidden])").length));
set("front", "", "input"); set("find", "forget", "input"); shown();
seen.push(form.querySelector("output").textContent);
document.title = seen.join("|");
"""


@pytest.mark.slow
def test_sorts_and_filters(tmp_path: Path) -> None:
    page = planted_page()
    script = page.partition("<script>")[2].partition("</script>")[0]

    # The page allows its own script alone: the steps are allowed besides it
    digest = base64.b64encode(hashlib.sha256(STEPS.encode()).digest()).decode()
    allowed = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    path = tmp_path / "benchmark.html"
    path.write_text(
        allowed.replace(script + "</script>", f"{script}</script><script>{STEPS}</script>")
    )
    dumped = _dom(path)
    seen = unescape(re.search("<title>(.*?)</title>", dumped)[1]).split("|")  # type: ignore[index]

    assert seen == [
        "Original Retrain NegGrad NegGrad+ SCRUB CF-k Forget-MI",
        # Without a cost comes last either way: the original's does not apply, CF-k failed
        "NegGrad SCRUB Forget-MI Retrain NegGrad+ Original CF-k",
        "NegGrad+ Retrain Forget-MI SCRUB NegGrad Original CF-k",
        "Retrain Forget-MI NegGrad+ SCRUB NegGrad Original CF-k",
        "Original Retrain NegGrad NegGrad+ SCRUB CF-k Forget-MI",
        "NegGrad SCRUB",
        "SCRUB",
        "NegGrad NegGrad+ SCRUB",
        "NegGrad SCRUB Forget-MI",
        "3",
        "Forget-MI",
        "1 of 14 shown",
    ]


@pytest.mark.slow
def test_another_script_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.html"
    path.write_text(
        planted_page().replace("</body>", "<script>document.title = 'x'</script></body>")
    )
    assert "<title>Benchmark of unlearning methods: planted</title>" in _dom(path)


def _dom(path: Path) -> str:
    """The page as it stands once its scripts ran."""
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={path.parent / 'user'}",
    ]
    command = [CHROMIUM, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.html"
    path.write_text(planted_page(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("theme", THEMES)
def test_the_page_fits_loads_nothing_and_does_not_complain(
    browser: Any, path: Path, size: tuple[int, int], theme: str
) -> None:
    watched = Watched(browser, path, size, theme=theme)
    assert watched.wider_than_its_window() == 0
    assert not watched.complaints
    assert not watched.loaded()
    watched.close()


def column(watched: Watched, key: str) -> list[str]:
    """What the rows that are shown hold under a heading, from top to bottom."""
    return watched.page.evaluate(
        "key => [...document.querySelectorAll('.compared tbody tr:not([hidden])')].map(row => row.dataset[key])",
        key,
    )


def in_order(values: list[str], *, number: bool) -> bool:
    """Whether they rise, those without a value behind all others."""
    there = [value for value in values if value]
    keys: list[Any] = [float(value) for value in there] if number else [v.lower() for v in there]
    return keys == sorted(keys) and values == there + [""] * (len(values) - len(there))


@pytest.mark.parametrize("key", ["method", "family", "percent", "cost", "gap", "jsf"])
def test_each_heading_sorts_and_keeps_every_row(browser: Any, path: Path, key: str) -> None:
    watched = Watched(browser, path)
    before = sorted(column(watched, "method"))
    button = watched.page.locator(f"th[data-key={key}] button")
    number = key in ("percent", "cost", "gap", "jsf")

    button.click()
    up = column(watched, key)
    assert in_order(up, number=number)
    assert watched.page.get_attribute(f"th[data-key={key}]", "aria-sort") == "ascending"

    button.click()
    down = column(watched, key)
    without = [value for value in down if not value]
    assert in_order([*[value for value in down if value][::-1], *without], number=number)
    assert down[len(down) - len(without) :] == without
    assert sorted(column(watched, "method")) == before
    assert not watched.complaints
    watched.close()


def test_each_family_shows_its_rows_and_counts_them(browser: Any, path: Path) -> None:
    watched = Watched(browser, path)
    families = column(watched, "family")
    choice = watched.page.locator("[name=family]")
    offered = [one.get_attribute("value") for one in choice.locator("option").all()]
    assert sorted(offered) == sorted({"", *families})

    for family in offered[1:]:
        choice.select_option(family)
        shown = column(watched, "family")
        assert shown == [family] * families.count(family)
        assert watched.page.inner_text("output") == f"{len(shown)} of {len(families)} shown"
    watched.close()


def test_a_method_is_found_by_its_name(browser: Any, path: Path) -> None:
    watched = Watched(browser, path)
    watched.page.locator("[name=find]").fill("negGRAD")
    assert column(watched, "method") == ["NegGrad", "NegGrad+"] * 2

    watched.page.locator("[name=percent]").select_option("3")
    assert watched.page.inner_text("output") == f"2 of {2 * (len(COSTS) + 2)} shown"
    watched.page.locator("[name=find]").fill("")
    assert len(column(watched, "method")) == len(COSTS) + 2
    watched.close()


def test_a_key_goes_from_method_to_method_and_to_its_row(browser: Any, path: Path) -> None:
    page = browser.new_page()
    page.goto(path.as_uri())
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')") or "")
    methods = [name.partition(":")[0] for name in names if "of a retraining" in name]
    assert methods[:4] == ["NegGrad", "SCRUB", "Forget-MI", "NegGrad+"]

    page.keyboard.press("Enter")
    assert page.locator("tr:target").count() == 1
    page.close()


def test_without_a_script_it_is_a_plain_table(browser: Any, path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("#choose").is_hidden()
    assert page.locator(".compared tbody tr:visible").count() == 2 * (len(COSTS) + 2)
    context.close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_no_barrier(browser: Any, path: Path, size: tuple[int, int], theme: str) -> None:
    watched = Watched(browser, path, size, theme=theme, free=True)
    assert watched.barriers() == []
    watched.close()


def test_on_paper_no_table_runs_over_the_edge(browser: Any, path: Path) -> None:
    # A4 on its side less its margins, at 96 pixels an inch
    watched = Watched(browser, path, (1032, 700))
    watched.page.emulate_media(media="print")
    assert watched.wider_than_its_window() == 0
    watched.close()
