"""``forgetmi requests close``: close requests by a run's record, or set their state by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.commands.requests.note import refuse_identifiers
from forgetmi.commands.requests.queue_page import check_page, write_page
from forgetmi.commands.requests.wording import entry_line, plain_entry
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.evidence.verify import verify
from forgetmi.requests.entries import numbers
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo

if TYPE_CHECKING:
    from forgetmi.run.artefact import Artefact


@dataclass(frozen=True)
class CloseOptions:
    """Options of ``forgetmi requests close``.

    Args:
        request: Numbers of requests, e.g. R0003.
        record: The record (or run directory) that carried them out; it is verified first.
        state: With --record closed; without, what to set: closed, refused, on_hold, or open again.
        note: Why, without identifiers; needed without a record, or where the verdict is not FORGOTTEN or the record is
            older than the request.
        search: Folders in which nothing may be left that remembers those named, besides what the record's run holds;
            what is left must be accounted for in the note. See forgetmi where.
        key: The signer's public key (PEM), from a source you trust; without, anybody's record is taken.
        ledger: The ledger's file.
        key_file: The identifier key, with which the note is searched for identifiers; empty = as for a cohort.
        page: Page of the queue to write anew once the ledger is changed; see forgetmi requests page.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    request: tyro.conf.Positional[tuple[str, ...]]
    record: Path | None = None
    state: Literal["closed", "refused", "on_hold", "open"] = "closed"
    note: str = ""
    search: tuple[Path, ...] = ()
    key: Path | None = None
    ledger: Path = LEDGER
    key_file: Path | None = None
    page: Path | None = None
    json: bool = False


def close(argv: Sequence[str]) -> None:
    """Close requests."""
    options = command_line(
        CloseOptions,
        argv,
        prog="forgetmi requests close",
        description="Close requests by a run's record; or refuse them, hold them, open them again.",
    )

    with json_output(options.json) as result:
        _close(options, result)


def _close(options: CloseOptions, result: dict[str, Any]) -> None:
    # A record is evidence of unlearning: it closes requests and does nothing else
    chosen = numbers(options.request)
    if not chosen:
        raise SpecError(Fault("no request is named", do="Give numbers, e.g. R0003."))
    if options.record is not None and options.state != "closed":
        raise SpecError(
            Fault("a record closes requests", where="--state", do="Leave one of the two out.")
        )
    check_page(options.page)
    ledger = Ledger(options.ledger)
    if options.note:
        refuse_identifiers(ledger, chosen, options.note, where="--note", key_file=options.key_file)

    if options.state == "closed":
        _refuse_left(ledger, chosen, options)

    # By hand, with a reason; or by a record, which is verified first.
    notes: Mapping[int, str] = {}
    unchecked: Sequence[str] = ()
    if options.record is None:
        ledger.move(chosen, options.state, note=options.note)
    else:
        verified = verify(options.record, key=options.key)
        folder = options.record if options.record.is_dir() else options.record.parent
        notes = ledger.close_requests(
            chosen, verified.record, folder=folder.resolve(), note=options.note
        )
        unchecked = verified.open

    # Where each request stands now, and what the record leaves open
    lines = []
    result.update(requests=[], not_checked=list(unchecked))
    for entry in ledger.entries(chosen):
        lines.append(entry_line(entry))
        result["requests"].append({**plain_entry(entry), "note": notes.get(entry.number, "")})
        if entry.number in notes:
            lines.append(f"  note: {printable(notes[entry.number])}")
    lines += [f"  not checked: {printable(line)}" for line in unchecked]
    echo("\n".join(lines))
    write_page(options.page, options.ledger)


def _refuse_left(ledger: Ledger, chosen: Sequence[int], options: CloseOptions) -> None:
    """Refuse to close while something remembers those named that nobody accounts for."""
    if not options.search or options.note:
        return
    from forgetmi.cohort.listed_people import ListedPeople
    from forgetmi.run.where import left_to_account_for

    run = options.record
    if run is not None and not run.is_dir():
        run = run.parent

    faults = []
    for entry in ledger.entries(chosen):
        key = ledger.key_id
        for people in (
            ListedPeople(entry.patients, (), key_id=key),
            ListedPeople((), entry.studies, key_id=key),
        ):
            if not people.digests:
                continue
            for folder in options.search:
                for artefact in left_to_account_for(folder, people, run=run):
                    faults.append(_left(entry.name, folder, artefact))
    if faults:
        raise SpecError(faults)


def _left(request: str, folder: Path, artefact: Artefact) -> Fault:
    to_do = f"{artefact.to_do[:1].upper()}{artefact.to_do[1:]}"
    return Fault(
        f"{request}: {artefact.what}",
        where=f"{folder.resolve().name}/{artefact.path}",
        do=f"{to_do}; or say in --note what becomes of it.",
    )
