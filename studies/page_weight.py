"""What the pages weigh in headless Chromium: bytes, requests, elements, time to load.

    python studies/page_weight.py NAME=FILE ... [--page docs/pages_measured.md]

Needs pip install 'forgetmi[browser]' and a Chromium of the system; without them nothing is done, and the reason said.
`studies/screenshots.py` makes the pages of a run, a benchmark and a queue, `make docs` those of the site.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pages import put, rows

LOADS = 5  # of each page; the fastest counts, which other work of the machine disturbs least
PHONE, DESKTOP = (390, 844), (1280, 900)
_READY = "performance.getEntriesByType('navigation')[0].loadEventEnd"


@dataclass(frozen=True)
class Weight:
    """One page.

    Args:
        name: For the table.
        kilobytes: Of the page and of every file that it loads.
        files: Files that it loads besides itself.
        network: Requests to anywhere but the disk.
        elements: Of its document.
        complaints: Lines on the console, errors included.
        loaded: Milliseconds until everything is there.
        over: Pixels by which it is wider than a phone's screen.
    """

    name: str
    kilobytes: float
    files: int
    network: int
    elements: int
    complaints: int
    loaded: float
    over: int


def weighed(browser: Any, name: str, path: Path) -> Weight:
    """Load a page some times and look at it.

    Args:
        browser: Chromium, as Playwright starts it.
        name: For the table.
        path: The page's file.
    """
    loaded = []
    for _ in range(LOADS):
        page, _, _ = _opened(browser, path, DESKTOP)
        loaded.append(page.evaluate(_READY))
        page.context.close()

    # A phone alone shows what is too wide
    page, requests, complaints = _opened(browser, path, PHONE)
    elements = page.evaluate("document.getElementsByTagName('*').length")
    over = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    page.context.close()

    own = [url for url in requests if url.startswith("file:")]
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    size = sum(_file_of(url).stat().st_size for url in set(own) if _file_of(url).is_file())
    return Weight(
        name,
        size / 1000,
        len(set(own)) - 1,
        len(outside),
        elements,
        len(complaints),
        min(loaded),
        over,
    )


def _opened(browser: Any, path: Path, size: tuple[int, int]) -> tuple[Any, list[str], list[str]]:
    """The page in a context of its own, nothing cached; its requests and its complaints."""
    width, height = size
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.absolute().as_uri(), wait_until="load")

    # The time of the load stands once its event is over
    page.wait_for_function(f"{_READY} > 0")
    return page, requests, complaints


def _file_of(url: str) -> Path:
    return Path(unquote(urlparse(url).path))


def table(weights: Sequence[Weight]) -> list[str]:
    """The figures as a Markdown table."""
    head = [
        "page",
        "KB",
        "files besides",
        "requests to a network",
        "elements",
        "console lines",
        "loaded, ms",
        "too wide for a phone, px",
    ]
    body = []
    for one in weights:
        body.append(
            [
                one.name,
                f"{one.kilobytes:.0f}",
                one.files,
                one.network,
                one.elements,
                one.complaints,
                f"{one.loaded:.0f}",
                one.over,
            ]
        )
    return rows(head, body)


def main() -> None:
    """Weigh the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("named", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--page", type=Path, help="page with marks for the table")
    options = parser.parse_args()

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None or find_spec("playwright") is None:
        print("Skipped: it takes Playwright and a Chromium of the system.")
        return

    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    weights = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for word in options.named:
            name, _, file = word.partition("=")
            weights.append(weighed(browser, name, Path(file)))
        browser.close()
    put(options.page, {"page-weight": "\n".join(table(weights))})


if __name__ == "__main__":
    main()
