"""Ledgers: files that are no databases, damaged ones, and sound ones with other values in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.requests.deadlines import deadline
from forgetmi.requests.ledger import Ledger
from tests.fuzz.hostile import answers, damaged
from tests.fuzzing import fuzz

pytestmark = pytest.mark.slow

COLUMNS = {
    "ledger": ("format", "key_id"),
    "requests": (
        "number",
        "received",
        "term",
        "due",
        "ground",
        "scope",
        "state",
        "batch",
        "record",
    ),
    "subjects": ("request", "kind", "digest"),
    "named": ("request", "digest", "reading"),
    "readings": ("request", "digest", "rules", "reading"),
    "never_trained": ("request", "digest"),
    "events": ("at", "state", "note"),
    "runs": ("record", "folder", "at", "before", "after", "verdict", "gap", "auc"),
}


def sound(folder: Path) -> bytes:
    """The bytes of a ledger with a request and a run."""
    path = folder / "sound.sqlite"
    ledger = Ledger.make(path, key_id="key")
    day = date(2024, 1, 5)
    ledger.add(
        received=day,
        due=day,
        term="gdpr",
        ground="g",
        scope="all_studies",
        patients=["p", "q"],
        readings={"p": {"leading-zeros": "r"}},
    )
    ledger.process(
        ledger.entries(), never_trained={1: ["q"]}, named={1: {"p": "s"}}, write=lambda *_: None
    )
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        values = "('r', 'f', 'a', 'b', 'c', 'v', 0.5, 0.5, 0.5, 0.5)"
        connection.execute(
            "INSERT INTO runs (record, folder, at, before, after, verdict, gap, floor, "
            f"auc_before, auc) VALUES {values}"
        )
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


def use(path: Path, *, reading: bool) -> None:
    """All that is read of a ledger."""
    ledger = Ledger(path, reading=reading)
    try:
        for entry in ledger.entries():
            ledger.history(entry.number)
            ledger.twins(entry)
        ledger.open_patients()
        ledger.steps()
    finally:
        ledger.close()


def clear(path: Path) -> None:
    """Remove a ledger and what SQLite keeps beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def test_files_that_are_damaged(tmp_path: Path) -> None:
    content = sound(tmp_path)
    path = tmp_path / "ledger.sqlite"

    @given(damaged(content) | st.binary(max_size=300), st.booleans())
    def check(changed: bytes, reading: bool) -> None:
        clear(path)
        path.write_bytes(changed)
        answers(lambda: use(path, reading=reading))

    fuzz(check)


VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.binary(max_size=10)
    | st.sampled_from(["9999-12-31", "2024-02-30", "open", "closed", "\x1b[31m", "a\nb"])
)


def test_values_of_another_kind(tmp_path: Path) -> None:
    content = sound(tmp_path)
    path = tmp_path / "ledger.sqlite"
    places = [(table, column) for table, columns in COLUMNS.items() for column in columns]
    changes = st.lists(st.tuples(st.sampled_from(places), VALUES), min_size=1, max_size=3)

    @given(changes, st.booleans())
    def check(changed: list[tuple[tuple[str, str], Any]], reading: bool) -> None:
        clear(path)
        path.write_bytes(content)
        with closing(sqlite3.connect(path)) as connection:
            for (table, column), value in changed:
                try:
                    connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
                except (sqlite3.Error, UnicodeError):
                    continue
            connection.commit()
        answers(lambda: use(path, reading=reading))

    fuzz(check)


def test_deadlines() -> None:
    terms: Any = st.sampled_from(["gdpr", "uk_biobank", "own"])

    @given(st.dates(), terms, st.none() | st.integers())
    def check(received: date, term: Any, days: int | None) -> None:
        due = answers(lambda: deadline(received, term, days=days))
        assert due is None or due > received

    fuzz(check)
