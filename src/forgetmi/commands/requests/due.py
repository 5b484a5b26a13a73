"""``forgetmi requests due``: what must be done by when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.commands.requests.wording import entry_line, plain_entry
from forgetmi.core.errors import Fault, SpecError
from forgetmi.requests.days import read_day
from forgetmi.requests.entries import PENDING
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo


@dataclass(frozen=True)
class DueOptions:
    """Options of ``forgetmi requests due``.

    Args:
        within: Only deadlines within so many days, 0 or more; overdue ones always.
        today: The day to count from, YYYY-MM-DD; empty = today (UTC).
        ledger: The ledger's file.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    within: int = 3650
    today: str = ""
    ledger: Path = LEDGER
    json: bool = False


def due(argv: Sequence[str]) -> None:
    """Deadlines."""
    options = command_line(
        DueOptions,
        argv,
        prog="forgetmi requests due",
        description="Requests that are not closed, the most urgent first.",
    )

    # Overdue requests are always among them
    if options.within < 0:
        raise SpecError(Fault(f"{options.within} days", where="--within", do="Give 0 or more."))
    today = read_day(options.today, "--today")

    # The ledger gives them by deadline.
    lines = []
    with json_output(options.json) as result:
        result.update(today=today, requests=[])
        for entry in Ledger(options.ledger, reading=True).entries(states=PENDING):
            days_left = (entry.due - today).days
            if days_left <= options.within:
                lines.append(f"{_time_left(days_left):>18}  {entry_line(entry)}")
                result["requests"].append({**plain_entry(entry), "days_left": days_left})

        echo("\n".join(lines) or "nothing is due")


def _time_left(days: int) -> str:
    if days < 0:
        return f"OVERDUE by {-days} d"
    if days == 0:
        return "due today"
    return f"{days} d left"
