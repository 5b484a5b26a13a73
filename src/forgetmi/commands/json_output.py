"""One JSON object on stdout for programs (``--json``); what people read goes to stderr then."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from forgetmi.core.errors import Fault

OPTION = "--json"


@contextmanager
def json_output(wanted: bool) -> Iterator[dict[str, Any]]:
    """A block that fills a result, which is printed as one object when the block has ended without an error.

    Args:
        wanted: Whether ``--json`` was given; else what the block prints goes where it always goes, and the result
            nowhere.
    """
    result: dict[str, Any] = {}
    if not wanted:
        yield result
        return

    with contextlib.redirect_stdout(sys.stderr):
        yield result
    print(json.dumps(result, indent=1, default=str), flush=True)


def print_error(faults: Sequence[Fault]) -> None:
    """Print what went wrong as one object: ``{"error": [{"what", "where", "why", "do"}, ...]}``."""
    plain = []
    for fault in faults:
        plain.append({"what": fault.what, "where": fault.where, "why": fault.why, "do": fault.do})
    print(json.dumps({"error": plain}, indent=1), flush=True)
