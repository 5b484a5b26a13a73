"""The built site in headless Chromium: a few pages in both themes, on a desktop and on a phone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import DESKTOP, PHONE, THEMES, Watched, chromium

ROOT = Path(__file__).parents[1]
PAGES = ("index", "first_run", "methods")  # the home page; code blocks; a wide table
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy with warnings as errors."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: there is no site to look at")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: no site")
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", folder)

    # The one page that is made with the site
    _carry_out(ROOT, ROOT / "studies" / "command_line.py", into=folder / "docs" / "command_line.md")
    _carry_out(folder, "-m", "mkdocs", "build", "--strict", "--quiet")
    return folder / "site"


def _carry_out(folder: Path, *words: str | Path, into: Path | None = None) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    if into is not None:
        into.write_text(done.stdout, encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_pages_fit_ask_no_network_and_have_no_barrier(
    browser: Any, site: Path, size: tuple[int, int], theme: str
) -> None:
    for name in PAGES:
        watched = Watched(browser, site / f"{name}.html", size, theme=theme, free=True)
        assert watched.wider_than_its_window() == 0, name
        assert not watched.complaints, name
        assert {url for url in watched.loaded() if not url.startswith("file:")} == set(), name
        assert watched.barriers() == [], name
        watched.close()
