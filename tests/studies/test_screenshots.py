"""Pictures of pages: small, placed where the pages are explained, and not attempted without a browser."""

from __future__ import annotations

import io
import re
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import screenshots  # type: ignore[import-not-found]

DOCS = Path(__file__).parents[2] / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_picture_keeps_its_size_and_loses_colours_until_it_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    kept = screenshots.small(png(noise))
    with Image.open(io.BytesIO(kept)) as picture:
        assert picture.size == (300, 200)
        assert len(picture.getcolors() or ()) == screenshots.COLOURS[0]

    # With less room there are fewer colours, and where none fit that is said
    monkeypatch.setattr(screenshots, "LARGEST", len(kept) - 1)
    fewer = screenshots.small(png(noise))
    with Image.open(io.BytesIO(fewer)) as picture:
        assert len(picture.getcolors() or ()) < screenshots.COLOURS[0]
    assert len(fewer) < len(kept)
    monkeypatch.setattr(screenshots, "LARGEST", 100)
    with pytest.raises(SystemExit, match="show less"):
        screenshots.small(png(noise))


def test_without_a_browser_nothing_is_done_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screenshots.shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["screenshots.py", "--work", str(tmp_path / "work")])
    screenshots.main()
    assert "Skipped: there is no Chromium" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_invented_queue_has_every_urgency() -> None:
    page = screenshots.queue_page(date(2026, 6, 15))
    assert set(re.findall(r'data-urgency="(\w+)"', page)) == {"overdue", "soon", "later", "done"}
    assert "The year, for the committee" in page


@pytest.mark.parametrize("name", sorted(screenshots.HEIGHTS))
def test_each_picture_is_there_small_and_on_a_page(name: str) -> None:
    path = DOCS / "images" / f"{name}.png"
    assert path.stat().st_size < screenshots.LARGEST
    with Image.open(path) as picture:
        assert picture.width == screenshots.WIDTH
    pages = [
        page for page in DOCS.glob("*.md") if f"(images/{name}.png)" in page.read_text("utf-8")
    ]
    assert pages


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium to take pictures with")
def test_a_picture_of_a_page_is_taken(tmp_path: Path) -> None:
    page = tmp_path / "queue.html"
    page.write_text(screenshots.queue_page(date(2026, 6, 15)), encoding="utf-8")
    with Image.open(io.BytesIO(screenshots.taken(CHROMIUM, page, 400))) as picture:
        assert picture.size == (screenshots.WIDTH, 400)
        assert len(picture.getcolors() or ()) > 5
