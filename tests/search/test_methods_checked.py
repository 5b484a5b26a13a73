"""A tuning or a sweep of a method that cannot work on the model is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgetmi.cli import main

SMALL = ["--cohort.patients", "40", "--cohort.size", "32"]
SWEEP = """
method: grid
parameters:
  carrier: {values: [full, lora]}
"""


def test_a_tuning_names_all_methods_that_cannot_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["tune", "--methods", "ssd", "salun", "forget_mi", "--carrier", "lora", *SMALL]
    assert main([*words, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "SSD cannot work with the carrier lora" in said
    assert "SalUn cannot work with the carrier lora" in said
    assert "Forget-MI cannot" not in said
    assert not out.exists()


def test_a_sweep_asks_of_every_carrier_that_it_tries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(SWEEP)
    words = ["sweep", "--file", str(file), "--method", "ssd", *SMALL]
    assert main([*words, "--out", str(out)]) == 2
    assert "SSD cannot work with the carrier lora" in capsys.readouterr().err
    assert not out.exists()
