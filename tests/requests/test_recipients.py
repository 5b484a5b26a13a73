"""Who was told of a withdrawal, which other models learned from its people, and ledgers from before that."""

from __future__ import annotations

import dataclasses
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.evidence.record_files import read_record
from forgetmi.requests.closing import other_models, remarks
from forgetmi.requests.entries import Step
from forgetmi.requests.ledger import Ledger

KEY = "0123456789abcdef"


def step(before: str, after: str) -> Step:
    """A run from one model to another."""
    none = None
    return Step(
        f"record {before}{after}", "runs/1", "2026", before, after, "", none, none, none, none, ()
    )


def test_who_was_told_is_kept_and_named_when_a_request_is_closed(
    signed_run: Path, tmp_path: Path
) -> None:
    record = read_record(signed_run)
    record = dataclasses.replace(
        record, decision=dataclasses.replace(record.decision, outcome="FORGOTTEN", flagged={})
    )
    ledger = Ledger.make(tmp_path / "l.sqlite", key_id=record.subjects.key_id)
    entry = ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="Art. 17",
        scope="all_studies",
        patients=record.subjects.patients,
    )
    ledger.inform([entry.number], "Hospital B", date(2026, 1, 20))
    ledger.inform([entry.number], "Hospital B", date(2026, 1, 21))
    (again,) = Ledger(tmp_path / "l.sqlite", reading=True).entries()
    assert again.recipients == {"Hospital B": "2026-01-21"}
    assert again.state == "open"
    assert ledger.close_requests([entry.number], record, folder=tmp_path) == {
        entry.number: "informed: Hospital B on 2026-01-21"
    }
    assert len(ledger.history(entry.number)) == 4


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "who.csv").write_text("patient_id\nSmith-1964\n")
    ledger = ["--ledger", str(tmp_path / "l.sqlite")]
    assert main(["requests", "add", "--who", str(tmp_path / "who.csv"), *ledger]) == 0
    inform = ["requests", "inform", "R1", *ledger, "--day", "2026-01-20", "--recipient"]
    assert main([*inform, "Hospital B"]) == 0
    assert "informed on 2026-01-20: Hospital B" in capsys.readouterr().out
    for words, message in (
        ("about smith 1964", "holds an identifier that R0001 names"),
        (" ", "nobody is named"),
    ):
        assert main([*inform, words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "1964" not in error


@pytest.mark.parametrize(
    ("steps", "others"),
    [
        ([], []),
        ([("a", "b")], ["a"]),
        ([("a", "b"), ("b", "x")], ["a", "x"]),
        ([("b", "c"), ("c", "d")], []),
    ],
)
def test_other_models_that_learned_from_them(
    steps: list[tuple[str, str]], others: list[str], signed_run: Path
) -> None:
    """The record goes from b to c; whatever comes from c never learned from them."""
    record = read_record(signed_run)
    models = []
    for model in record.models:
        weights = {"before": "b", "after": "c"}.get(model.role, model.weights)
        models.append(dataclasses.replace(model, weights=weights))
    record = dataclasses.replace(record, models=tuple(models))
    history = [step(*one) for one in steps]
    assert other_models(record, history) == others


def test_an_older_ledger_is_read_and_brought_up_to_date_whole(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger.make(path, key_id=KEY)
    number = ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="",
        scope="all_studies",
        patients=["a"],
    ).number
    ledger.close()
    with sqlite3.connect(path) as database:
        for table in ("recipients", "absent", "seals"):
            database.execute(f"DROP TABLE {table}")
    before = path.read_bytes()

    # Read only, nothing is written
    assert Ledger(path, reading=True).entries()[0].recipients == {}
    assert path.read_bytes() == before

    # Opened by two at once, it has its tables once
    one, two = Ledger(path), Ledger(path)
    one.inform([number], "Hospital B", date(2026, 1, 2))
    assert two.entries()[0].recipients == {"Hospital B": "2026-01-02"}


def test_nothing_is_remarked_where_there_is_nothing(signed_run: Path, tmp_path: Path) -> None:
    record = read_record(signed_run)
    record = dataclasses.replace(record, decision=dataclasses.replace(record.decision, flagged={}))
    ledger = Ledger.make(tmp_path / "l.sqlite", key_id=record.subjects.key_id)
    entry = ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="",
        scope="all_studies",
        patients=record.subjects.patients,
    )
    assert list(remarks(entry, record, steps=ledger.steps())) == []
