"""A ledger that is moved together with its runs finds them again."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path

import pytest

from forgetmi.evidence.record_files import read_record
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.run_folders import found_folder, home_of, stored_folder


def test_runs_below_the_ledger_are_stored_by_their_way_from_it(tmp_path: Path) -> None:
    home = tmp_path / "a"
    assert stored_folder(home / "runs" / "7", home) == "runs/7"
    assert stored_folder(home, home) == "."
    assert stored_folder(tmp_path / "b", home) == str(tmp_path / "b")
    for run in (home / "runs" / "7", home, tmp_path / "b"):
        assert Path(found_folder(stored_folder(run, home), home)) == run


def test_a_ledger_moved_with_its_runs_finds_them(
    signed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_record(signed_run)
    decision = dataclasses.replace(record.decision, outcome="FORGOTTEN", flagged={})
    record = dataclasses.replace(record, decision=decision)
    (tmp_path / "project" / "runs" / "7").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    ledger = Ledger.make(Path("ledger.sqlite"), key_id=record.subjects.key_id)
    number = ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="",
        scope="all_studies",
        patients=record.subjects.patients,
    ).number
    ledger.close_requests([number], record, folder=Path("runs/7"))
    assert ledger.steps()[0].folder == str(tmp_path / "project" / "runs" / "7")
    ledger.close()

    (tmp_path / "project").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    moved = Ledger(Path("moved/ledger.sqlite"), reading=True)
    assert moved.steps()[0].folder == str(tmp_path / "moved" / "runs" / "7")
    assert home_of(Path("moved/ledger.sqlite")) == tmp_path / "moved"


def test_folders_of_earlier_ledgers_are_absolute_and_stay(tmp_path: Path) -> None:
    assert found_folder("/srv/runs/7", tmp_path) == "/srv/runs/7"
