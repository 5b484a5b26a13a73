"""``forgetmi requests inform``: record who was told of withdrawals (GDPR Art. 19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.commands.requests.note import refuse_identifiers
from forgetmi.commands.requests.queue_page import check_page, write_page
from forgetmi.commands.requests.wording import entry_line, plain_entry
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.requests.days import read_past_day
from forgetmi.requests.entries import numbers
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo


@dataclass(frozen=True)
class InformOptions:
    """Options of ``forgetmi requests inform``.

    Args:
        request: Numbers of requests, e.g. R0003.
        recipient: Who had the data or a model, in words, without identifiers of those who withdrew.
        day: When they were told, YYYY-MM-DD; empty = today (UTC).
        ledger: The ledger's file.
        key_file: The identifier key, with which the words are searched for identifiers; empty = as for a cohort.
        page: Page of the queue to write anew once the ledger is changed; see forgetmi requests page.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    request: tyro.conf.Positional[tuple[str, ...]]
    recipient: str
    day: str = ""
    ledger: Path = LEDGER
    key_file: Path | None = None
    page: Path | None = None
    json: bool = False


def inform(argv: Sequence[str]) -> None:
    """Record who was told."""
    options = command_line(
        InformOptions,
        argv,
        prog="forgetmi requests inform",
        description="Record who was told of withdrawals: whoever had the data or a model made of them (GDPR Art. 19).",
    )
    with json_output(options.json) as result:
        _inform(options, result)


def _inform(options: InformOptions, result: dict[str, Any]) -> None:
    chosen = numbers(options.request)
    faults = []
    if not chosen:
        faults.append(Fault("no request is named", do="Give numbers, e.g. R0003."))
    if not options.recipient.strip():
        faults.append(Fault("nobody is named", where="--recipient", do="Say who was told."))
    if faults:
        raise SpecError(faults)

    # Words that are kept may hold no identifier
    day = read_past_day(options.day, "--day")
    check_page(options.page)
    ledger = Ledger(options.ledger)
    refuse_identifiers(
        ledger, chosen, options.recipient, where="--recipient", key_file=options.key_file
    )
    ledger.inform(chosen, options.recipient.strip(), day)

    # Everybody who was told of each request so far
    result["requests"] = []
    for entry in ledger.entries(chosen):
        echo(entry_line(entry))
        for who, when in entry.recipients.items():
            echo(printable(f"  informed on {when}: {who}"))
        result["requests"].append({**plain_entry(entry), "informed": dict(entry.recipients)})
    write_page(options.page, options.ledger)
