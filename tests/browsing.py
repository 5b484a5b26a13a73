"""Pages in headless Chromium: what they ask a network for, what they complain of, and what axe-core finds.

Tests that use it skip, and say why, where Playwright, axe-core or Chromium is missing: pip install 'forgetmi[browser]',
and a Chromium of the system, which Playwright is never asked to download.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
DESKTOP, PHONE = (1280, 900), (390, 844)
THEMES = ("light", "dark")
PATIENCE = 10_000  # milliseconds that a step may take


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser for the pages; skips what asks for it where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pages are not tried with it"
    )
    if not CHROMIUM:
        pytest.skip("no Chromium to try the pages in")

    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page of a browser with everything that it complained of or asked a network for.

    Args:
        browser: As `chromium` gives it.
        path: The page's file.
        size: Width and height in pixels.
        theme: "light" or "dark".
        time: What the page's clock shows; "" = the time.
        free: Whether scripts other than the page's own may run, for tools that look at it.
    """

    def __init__(
        self,
        browser: Any,
        path: Path,
        size: tuple[int, int] = DESKTOP,
        *,
        theme: str = "light",
        time: str = "",
        free: bool = False,
    ) -> None:
        width, height = size
        self.path = path
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, bypass_csp=free
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)

        # From here on everything is written down
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

        if time:
            self.page.clock.set_fixed_time(time)
        self.page.goto(path.as_uri())

    def close(self) -> None:
        self.context.close()

    def wider_than_its_window(self) -> int:
        """Pixels by which the page runs over the edge."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def loaded(self) -> set[str]:
        """Addresses of what was loaded besides the page itself and what stands in it."""
        return {url for url in self.requests if not url.startswith("data:")} - {self.path.as_uri()}

    def barriers(self) -> list[str]:
        """What axe-core finds, a line each: the rule, and where it is broken."""
        self.page.evaluate(axe())
        found = self.page.evaluate("axe.run()")

        lines = []
        for broken in found["violations"]:
            lines += [
                f"{broken['id']}: {node['target']} {node['html'][:120]}" for node in broken["nodes"]
            ]
        return lines


def axe() -> str:
    """The script of axe-core; skips what asks for it where it is missing."""
    package = pytest.importorskip(
        "axe_playwright_python", reason="axe-playwright-python is not installed: no axe-core"
    )
    return Path(package.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
