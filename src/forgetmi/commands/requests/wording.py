"""How a request is printed, for all subcommands of ``forgetmi requests``."""

from __future__ import annotations

from typing import Any

from forgetmi.core.printable import printable
from forgetmi.requests.entries import Entry


def entry_line(entry: Entry) -> str:
    """One request in one line."""
    columns = [
        entry.name,
        f"{entry.state:<10}",
        f"due {entry.due}",
        f"received {entry.received}",
        subject_count(entry),
        entry.scope,
        entry.ground,
    ]
    if entry.record:
        columns.append(f"record {entry.record[:16]}")
    # A ground is any text: on its own line it could pass for a request
    return printable("  ".join(columns))


def plain_entry(entry: Entry) -> dict[str, Any]:
    """One request in short, for JSON."""
    return {
        "request": entry.name,
        "state": entry.state,
        "received": entry.received,
        "due": entry.due,
        "ground": entry.ground,
        "scope": entry.scope,
        "patients": len(entry.patients),
        "studies": len(entry.studies),
        "batch": entry.batch,
        "record": entry.record,
    }


def subject_count(entry: Entry) -> str:
    """How many patients or studies a request names."""
    if entry.patients:
        return f"{len(entry.patients)} patients"
    return f"{len(entry.studies)} studies"
