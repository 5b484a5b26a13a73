"""``forgetmi requests add``: enter a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.commands.requests.queue_page import check_page, write_page
from forgetmi.commands.requests.wording import plain_entry, subject_count
from forgetmi.requests.database import create
from forgetmi.requests.days import read_past_day
from forgetmi.requests.deadlines import DEFAULT_TERM, Term, deadline
from forgetmi.requests.entries import Scope
from forgetmi.requests.grounds import ground_words
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.requests.subjects import read_subjects
from forgetmi.run.console import echo


@dataclass(frozen=True)
class AddOptions:
    """Options of ``forgetmi requests add``.

    Args:
        who: CSV or Parquet with a column patient_id (or study_id) of those who withdraw.
        received: Day of receipt, YYYY-MM-DD; empty = today (UTC).
        term: What sets the deadline: gdpr (one month), uk_biobank (90 days), or own with --days.
        days: For own, days until the deadline, 1 to 3650.
        ground: consent, objection, erasure, study, or own words without identifiers; empty = that of the term.
        scope: all_studies, one_modality, future_training, or legal_hold (the request waits on hold).
        note: Anything else, without identifiers.
        ledger: The ledger's file.
        key_file: The identifier key; empty = as for a cohort.
        page: Page of the queue to write anew once the ledger is changed; see forgetmi requests page.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    who: Path
    received: str = ""
    term: Term = DEFAULT_TERM
    days: int | None = None
    ground: str = ""
    scope: Scope = "all_studies"
    note: str = ""
    ledger: Path = LEDGER
    key_file: Path | None = None
    page: Path | None = None
    json: bool = False


def add(argv: Sequence[str]) -> None:
    """Enter a request."""
    options = command_line(
        AddOptions,
        argv,
        prog="forgetmi requests add",
        description="Enter a withdrawal. Identifiers are read, turned into keyed digests, and not kept.",
    )

    with json_output(options.json) as result:
        _add(options, result)


def _add(options: AddOptions, result: dict[str, Any]) -> None:
    check_page(options.page)

    # What the term decides: the deadline and, unless it is given, the legal ground
    received = read_past_day(options.received, "--received")
    due = deadline(received, options.term, days=options.days)
    ground = ground_words(options.ground, options.term)

    # Raw identifiers go no further than this call.
    pseudonyms = Pseudonyms(load_key(options.key_file))
    subjects = read_subjects(options.who, pseudonyms, words=(ground, options.note))

    # A new ledger is said: where there should be one, it was lost or --ledger is wrong
    if create(options.ledger, key_id=pseudonyms.key_id):
        echo(f"a new ledger was made: {options.ledger}")
    ledger = Ledger(options.ledger, key_id=pseudonyms.key_id)
    entry = ledger.add(
        received=received,
        due=due,
        term=options.term,
        ground=ground,
        scope=options.scope,
        patients=subjects.patients,
        studies=subjects.studies,
        note=options.note,
        readings=subjects.readings,
    )

    echo(f"{entry.name}: {subject_count(entry)}, {entry.scope}, {entry.state}, due {entry.due}")

    twins = ledger.twins(entry)
    result.update(plain_entry(entry), twins=[twin.name for twin in twins])

    # A second request of the same patients is allowed, but worth a look
    for twin in twins:
        same = twin.subjects & entry.subjects
        named = "some of the same" if same else "some who may be the same, in another spelling"
        echo(f"  note: {twin.name} ({twin.state}) names {named}")
    write_page(options.page, options.ledger)
