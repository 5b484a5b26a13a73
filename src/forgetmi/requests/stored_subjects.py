"""Whom the ledger's requests name: digests as written, in other spellings, and as a cohort has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forgetmi.requests.damage import damaged
from forgetmi.requests.entries import Kind


def _nobody() -> dict[Kind, list[str]]:
    return {"patient": [], "study": []}


@dataclass
class StoredSubjects:
    """Whom one request names, as keyed digests in the order they were entered; see `Entry`.

    Args:
        written: Kind to digests as they were written.
        named: Digest as written to that by which a cohort has the subject, where they differ.
        never_trained: Those that no model was trained on.
        absent: Those whom the cohort did not have for which a forget list was made last.
        absent_from: Digest of that cohort; "" = everybody was there.
        readings: Digest as written to the digests under each rule.
        recipients: Who was informed, to the day.
    """

    written: dict[Kind, list[str]] = field(default_factory=_nobody)
    named: dict[str, str] = field(default_factory=dict)
    never_trained: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    absent_from: str = ""
    readings: dict[str, dict[str, str]] = field(default_factory=dict)
    recipients: dict[str, str] = field(default_factory=dict)

    def digests(self, kind: Kind) -> tuple[str, ...]:
        """The subjects of one kind, as the cohort has them; two spellings of one count once."""
        digests = [self.named.get(written, written) for written in self.written[kind]]
        return tuple(dict.fromkeys(digests))


def read_stored(connection: sqlite3.Connection, *, where: str) -> dict[int, StoredSubjects]:
    """Whom each request names, by its number.

    Args:
        connection: To the ledger.
        where: Name of the ledger's file.

    Raises:
        EvidenceError: A row names no request, or holds something else than a digest: the file is damaged.
    """
    subjects: dict[int, StoredSubjects] = {}
    try:
        for request, kind, digest in connection.execute(
            "SELECT request, kind, digest FROM subjects ORDER BY rowid"
        ):
            of_request = subjects.setdefault(request, StoredSubjects())
            of_request.written[kind].append(_text(digest))

        for request, digest in connection.execute(
            "SELECT request, digest FROM never_trained ORDER BY rowid"
        ):
            subjects[request].never_trained.append(_text(digest))
        for request, digest, cohort in connection.execute(
            "SELECT request, digest, cohort FROM absent ORDER BY rowid"
        ):
            subjects[request].absent.append(_text(digest))
            subjects[request].absent_from = _text(cohort)
        for request, written, digest in connection.execute(
            "SELECT request, digest, reading FROM named"
        ):
            subjects[request].named[_text(written)] = _text(digest)
        for request, written, rules, reading in connection.execute(
            "SELECT request, digest, rules, reading FROM readings"
        ):
            by_rules = subjects[request].readings.setdefault(_text(written), {})
            by_rules[_text(rules)] = _text(reading)
        for request, recipient, informed in connection.execute(
            "SELECT request, recipient, informed FROM recipients ORDER BY rowid"
        ):
            subjects[request].recipients[_text(recipient)] = _text(informed)
    except (KeyError, TypeError):
        raise damaged(where, "whom a request names is of another kind") from None

    return subjects


def _text(value: Any) -> str:
    """A digest or the name of rules.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, str):
        raise TypeError
    return value


def write_readings(
    connection: sqlite3.Connection, number: int, readings: Mapping[str, Mapping[str, str]]
) -> None:
    """Store the digests of a request's subjects in other spellings."""
    rows = []
    for digest, by_rules in readings.items():
        rows += [(number, digest, rules, reading) for rules, reading in by_rules.items()]
    connection.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?)", rows)


def write_named(connection: sqlite3.Connection, number: int, named: Mapping[str, str]) -> None:
    """Store by which digests a cohort has a request's subjects, in place of what another cohort had."""
    connection.execute("DELETE FROM named WHERE request = ?", (number,))
    rows = [(number, written, digest) for written, digest in named.items() if digest != written]
    connection.executemany("INSERT INTO named VALUES (?, ?, ?)", rows)


def write_never_trained(
    connection: sqlite3.Connection, number: int, digests: Sequence[str]
) -> None:
    """Store which of a request's subjects no model was trained on, in place of what was stored."""
    connection.execute("DELETE FROM never_trained WHERE request = ?", (number,))
    rows = [(number, digest) for digest in digests]
    connection.executemany("INSERT INTO never_trained VALUES (?, ?)", rows)


def write_absent(
    connection: sqlite3.Connection, number: int, digests: Sequence[str], cohort: str
) -> None:
    """Store which of a request's subjects a cohort does not have, in place of what another cohort had."""
    connection.execute("DELETE FROM absent WHERE request = ?", (number,))
    rows = [(number, digest, cohort) for digest in digests]
    connection.executemany("INSERT INTO absent VALUES (?, ?, ?)", rows)
