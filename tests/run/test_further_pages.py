"""Pages and audits that come after the record lie beside it, wherever the run was moved to."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.evidence.verify import verify
from tests.evidence.copied_runs import copy, replace, states, unsigned

PAGES = {"report.html", "engineer.html", "letter.html"}


@pytest.fixture
def no_cohort(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cohort is not on this machine."""

    def gone(self: SyntheticCohort) -> None:
        raise CohortError(Fault("the cohort is not here"))

    monkeypatch.setattr(SyntheticCohort, "load", gone)


@pytest.mark.parametrize(("kind", "times"), [("signed", 2), ("not signed", 1)])
def test_pages_written_again_lie_beside_the_record(
    kind: str, times: int, signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path) if kind == "signed" else unsigned(signed_run, tmp_path)
    before, known = states(run), set(verify(run).open)
    numbers = range(2, 2 + times)
    for number in numbers:
        assert main(["report", str(run)]) == 0
        assert f"report-{number}/report.html" in capsys.readouterr().out
        assert {path.name for path in (run / f"report-{number}").iterdir()} == PAGES
    assert {name: state for name, state in states(run).items() if "/report-" not in name} == before

    # They are as the run's own, down to the command that made the models
    for name in PAGES:
        assert (run / "report-2" / name).read_bytes() == (run / name).read_bytes()

    # The record holds, and says which files are none of its own
    added = set(verify(run).open) - known
    assert {line.partition(":")[0] for line in added} == {
        f"report-{number}/{name}" for number in numbers for name in PAGES
    }


def test_a_run_that_was_moved_is_reported_and_verified_without_its_cohort(
    signed_run: Path,
    sign_key: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_cohort: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied = copy(signed_run, tmp_path)
    (tmp_path / "archive" / "2026").mkdir(parents=True)
    shutil.move(copied, tmp_path / "archive" / "2026" / "moved")
    monkeypatch.chdir(tmp_path / "archive")
    assert main(["report", "2026/moved"]) == 0
    assert main(["verify", "2026/moved", "--key", f"{sign_key}.pub"]) == 0
    assert "report-2/report.html" in capsys.readouterr().out

    # The pages say what the run's own say, but for the example films, which are where the cohort is
    films = re.compile(r'<section id="examples">.*?</section>', re.DOTALL)
    for name in PAGES:
        own = films.sub("", (signed_run / name).read_text())
        again = (tmp_path / "archive" / "2026" / "moved" / "report-2" / name).read_text()
        assert films.sub("", again) == own


def test_a_run_of_an_earlier_version_reads_its_cohort(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    (run / "cohort.json").unlink()
    assert main(["report", str(run), "--out", str(tmp_path / "pages")]) == 0
    for name in PAGES:
        assert (tmp_path / "pages" / name).read_bytes() == (signed_run / name).read_bytes()


@pytest.mark.parametrize("content", ["", "[]", '{"name": 1}', "{"])
def test_a_damaged_file_of_the_cohort_is_one_clear_error(
    content: str, signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path)
    replace(run / "cohort.json", content.encode())
    before = states(run)
    assert main(["report", str(run)]) == 2
    assert "cohort.json" in capsys.readouterr().err
    assert states(run) == before


def test_what_is_kept_of_the_cohort_names_nobody(signed_run: Path) -> None:
    kept = json.loads((signed_run / "cohort.json").read_text())
    assert set(kept) == {
        "name",
        "classes",
        "task",
        "show_images",
        "digest",
        "key_id",
        "notices",
    }


def test_an_audit_lies_beside_the_record(
    signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path)
    before = states(run)
    assert main(["audit", str(run)]) == 0
    said = capsys.readouterr().out
    assert "signals are there already" in said
    assert "report-2/audit.json" in said
    assert (run / "report-2" / "audit.json").read_bytes() == (run / "audit.json").read_bytes()
    assert {name: state for name, state in states(run).items() if "/report-" not in name} == before
    verify(run)


@pytest.mark.parametrize("command", ["audit", "report"])
def test_another_run_is_no_place_for_them(
    command: str, signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path)
    before = states(run)
    assert main([command, str(signed_run), "--out", str(run)]) == 2
    assert "the directory of a run" in capsys.readouterr().err
    assert states(run) == before


def test_without_the_extra_for_pdf_nothing_is_written(
    signed_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = copy(signed_run, tmp_path)
    before = sorted(run.rglob("*"))
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    assert main(["report", str(run), "--pdf"]) == 2
    assert "weasyprint is not installed" in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before
