"""``forgetmi requests list``: all requests and where they stand."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.commands.requests.wording import entry_line
from forgetmi.requests.entries import STATES, Entry, State
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo


@dataclass(frozen=True)
class ListOptions:
    """Options of ``forgetmi requests list``.

    Args:
        state: Only requests in this state; all = every one.
        as_json: Print a JSON list, with keyed digests and the history of each request.
        ledger: The ledger's file.
        json: Print one JSON object on stdout, whose key requests holds that list.
    """

    state: Literal["all", "open", "processing", "on_hold", "closed", "refused"] = "all"
    as_json: bool = False
    ledger: Path = LEDGER
    json: bool = False


def list_requests(argv: Sequence[str]) -> None:
    """All requests."""
    options = command_line(
        ListOptions,
        argv,
        prog="forgetmi requests list",
        description="All requests and where they stand, by deadline.",
    )

    # All requests, or those of one state
    states: tuple[State, ...] = STATES if options.state == "all" else (options.state,)
    ledger = Ledger(options.ledger, reading=True)
    entries = ledger.entries(states=states)

    if options.json:
        with json_output(True) as result:
            result["requests"] = [_plain(entry, ledger) for entry in entries]
    elif options.as_json:
        # For other programs, with the history of each request
        plain = [_plain(entry, ledger) for entry in entries]
        echo(json_text.dumps(plain, indent=1, default=str))
    elif entries:
        echo("\n".join(map(entry_line, entries)))
    else:
        echo("no requests")


def _plain(entry: Entry, ledger: Ledger) -> dict[str, Any]:
    """One request for JSON."""
    # Digests of other spellings serve to match, and name nobody else
    plain = asdict(entry)
    del plain["readings"], plain["written"]
    return {
        **plain,
        "request": entry.name,
        "history": ledger.history(entry.number),
    }
