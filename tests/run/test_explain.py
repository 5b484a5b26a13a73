"""The page about one patient: from a run's stored arrays, beside the run, and about nobody else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from forgetmi.cli import main
from tests.evidence.copied_runs import states


def patients(run: Path) -> list[str]:
    rows = json.loads((run / "audit.json").read_text(encoding="utf-8"))["patients"]
    return [row["patient"] for row in rows]


def test_a_patients_page_is_written_and_the_run_stays(signed_run: Path, tmp_path: Path) -> None:
    chosen, *others = patients(signed_run)
    before = states(signed_run)
    out = tmp_path / "patient.html"
    assert main(["explain", str(signed_run), "--patient", chosen[:8], "--out", str(out)]) == 0

    page = out.read_text(encoding="utf-8")
    assert states(signed_run) == before
    assert chosen in page
    assert not [other for other in others if other in page]
    assert "http:" not in page
    assert "<script" not in page
    for heading in ("Who", "How familiar they are", "What is remembered most", "Copies"):
        assert re.search(rf"<h2>\d\. {heading}", page)
    assert "data:image/jpeg" in page  # the generated cohort allows pictures


@pytest.mark.parametrize("digest", ["", "abc", "zzzzzzzz"])
def test_a_digest_must_name_one_patient(
    digest: str, signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "patient.html"
    assert main(["explain", str(signed_run), f"--patient={digest}", "--out", str(out)]) == 2
    assert "does not name one forgotten patient" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("place", ["patient.html", "models/patient.html"])
def test_the_page_does_not_go_into_the_run(
    place: str, signed_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = signed_run / place
    chosen = patients(signed_run)[0]
    assert main(["explain", str(signed_run), "--patient", chosen, "--out", str(out)]) == 2
    assert "--out is the directory of a run" in capsys.readouterr().err
    assert not out.exists()
