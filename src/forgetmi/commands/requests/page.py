"""``forgetmi requests page``: the queue of withdrawals as one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.commands.requests.queue_page import write_page
from forgetmi.requests.days import read_day
from forgetmi.requests.ledger import LEDGER
from forgetmi.run.console import echo


@dataclass(frozen=True)
class PageOptions:
    """Options of ``forgetmi requests page``.

    Args:
        out: The page to write; a page of an earlier day is replaced.
        today: The day to count from, YYYY-MM-DD; empty = today (UTC).
        ledger: The ledger's file.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    out: Path
    today: str = ""
    ledger: Path = LEDGER
    json: bool = False


def page(argv: Sequence[str]) -> None:
    """The queue as one page."""
    options = command_line(
        PageOptions,
        argv,
        prog="forgetmi requests page",
        description="Write the queue of withdrawals as one page that sorts and filters without a server: "
        "received, due, state, verdict, and the papers of what is done.",
    )
    with json_output(options.json) as result:
        write_page(options.out, options.ledger, today=read_day(options.today, "--today"))
        result["page"] = str(options.out)
        echo(f"Queue: {options.out}")
