"""What a page weighs: its files, what it asks a network for, and what is too wide for a phone."""

from __future__ import annotations

from pathlib import Path

import page_weight
from tests.browsing import chromium


def test_a_heavy_page_is_told_from_a_light_one(tmp_path: Path) -> None:
    light, heavy = tmp_path / "light.html", tmp_path / "heavy.html"
    light.write_text("<!doctype html><title>light</title><p>one", encoding="utf-8")
    (tmp_path / "own.css").write_text("p { width: 500px }", encoding="utf-8")
    heavy.write_text(
        "<!doctype html><title>heavy</title><link rel='stylesheet' href='own.css'>"
        "<p>one<p>two<img src='http://127.0.0.1:9/x.png' alt=''>",
        encoding="utf-8",
    )

    with chromium() as browser:
        light_one = page_weight.weighed(browser, "light", light)
        heavy_one = page_weight.weighed(browser, "heavy", heavy)

    assert (light_one.files, light_one.network, light_one.complaints) == (0, 0, 0)
    assert (heavy_one.files, heavy_one.network, heavy_one.complaints) == (1, 1, 1)
    assert heavy_one.elements == light_one.elements + 3
    assert light_one.kilobytes == light.stat().st_size / 1000
    line = page_weight.table([light_one])[-1]
    assert line.startswith("| light | 0 | 0 | 0 | 5 | 0 | ")
