"""``forgetmi requests process``: open requests become one forget list, and the command that carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetmi.commands.json_output import json_output
from forgetmi.commands.options import parse
from forgetmi.commands.requests.queue_page import check_page, write_page
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.printable import printable
from forgetmi.requests.entries import Kind, numbers
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.requests.processing import gather, next_command
from forgetmi.run.console import echo
from forgetmi.run.spec import RunSpec


@dataclass(frozen=True)
class ProcessOptions:
    """Options of ``forgetmi requests process``.

    Args:
        out: The forget list to write (CSV of keyed digests), for --partition.forget-list.
        only: Numbers of requests, e.g. R0003; none given = every open one.
        kind: Requests that name patients, or those that name single studies; one forget list holds one kind.
        ledger: The ledger's file.
        page: Page of the queue to write anew once the ledger is changed; see forgetmi requests page.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    out: Path
    only: tuple[str, ...] = ()
    kind: Kind = "patient"
    ledger: Path = LEDGER
    page: Path | None = None
    json: bool = False


def process(argv: Sequence[str]) -> None:
    """Gather open requests into one forget list."""
    spec, options = parse(
        ProcessOptions,
        argv,
        prog="forgetmi requests process",
        only=("cohort",),
        description="Match open requests with a cohort and write one forget list for forgetmi run.",
    )

    with json_output(options.json) as result:
        _process(spec, options, result)


def _process(spec: RunSpec, options: ProcessOptions, result: dict[str, Any]) -> None:
    check_page(options.page)

    # Ledger and cohort must have been made with the same identifier key
    cohort = spec.cohort.load()
    ledger = Ledger(options.ledger, key_id=cohort.key_id)

    forget_list = gather(ledger, cohort, kind=options.kind, only=numbers(options.only))

    # What was left out, and why
    for note in forget_list.notes:
        echo(printable(note))
    if not forget_list.entries:
        raise EvidenceError(_nothing_to_process(ledger, options.ledger.name))

    # List and ledger change together: another process that gathered the same requests is refused.
    batch = ledger.process(
        forget_list.entries,
        write=lambda: forget_list.write(options.out),
        never_trained=forget_list.never_trained,
        named=forget_list.named,
        absent=forget_list.absent,
        cohort=forget_list.cohort,
    )

    # What to run next, from the model in service
    count = f"{len(forget_list.entries)} requests, {len(forget_list.rows)} {options.kind} digests"
    command = next_command(options.out, forget_list.entries, ledger.steps())
    echo(
        f"Forget list {batch}: {options.out} ({count})\nNext, with the cohort's options:  {command}"
    )
    result.update(
        batch=batch,
        forget_list=str(options.out),
        requests=[entry.name for entry in forget_list.entries],
        digests=len(forget_list.rows),
        notes=list(forget_list.notes),
        command=command,
    )
    write_page(options.page, options.ledger)


def _nothing_to_process(ledger: Ledger, name: str) -> Fault:
    """Why no list is made, and what to do."""
    begun = ledger.entries(states=("processing",))
    if not begun:
        waiting = ledger.entries(states=("open", "on_hold"))
        why = "every request is closed or refused"
        if waiting:
            why = f"left out, as said above, or on hold: {', '.join(one.name for one in waiting)}"
        do = "See forgetmi requests list; enter a new request with forgetmi requests add."
        return Fault("no request can be carried out", where=name, why=why, do=do)

    # A second call is likely to be meant for these
    requests = ", ".join(f"{entry.name} (forget list {entry.batch})" for entry in begun)
    return Fault(
        "no request is waiting to be carried out",
        where=name,
        why=f"being carried out already: {requests}",
        do="Close them by their run's record, or give the run's command again; to write their list again, name them "
        "with --only. New requests: forgetmi requests add.",
    )
