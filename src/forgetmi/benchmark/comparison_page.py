"""What the benchmark's page shows of the comparison: one table of all percentages, and the front of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forgetmi.benchmark.comparison import REFERENCE, Compared, compare
from forgetmi.benchmark.families import FAMILIES, OTHER
from forgetmi.benchmark.front_figure import front_figure
from forgetmi.benchmark.results import DRAWS, FEW, Results
from forgetmi.benchmark.settings import Setting
from forgetmi.report.inline_script import inline_script, shared_style
from forgetmi.report.table import TableCell

_CALL = 'sortAndFilter(document.querySelector(".compared"), document.getElementById("choose"));\n'


def comparison_values(results: Results, settings: Sequence[Setting]) -> dict[str, Any]:
    """Values of the template: `compared` rows, `fronts`, what the filters offer, style and script.

    Args:
        results: What was measured.
        settings: The methods.
    """
    rows: list[Mapping[str, Any]] = []
    fronts: list[Mapping[str, Any]] = []
    for percent in results.forgotten:
        compared = compare(results, settings, percent)
        addresses = [f"row-{percent:g}-{place}" for place in range(len(compared))]
        for row, address in zip(compared, addresses, strict=True):
            rows.append({"row": row, "address": address})

        picture = front_figure(f"front-{percent:g}", compared, addresses)
        if picture:
            note = "" if results.resolvable(percent) else _UNRESOLVED
            best = [row.label for row in compared if row.on_front]
            fronts.append(
                {"percent": f"{percent:g}", "picture": picture, "best": best, "note": note}
            )

    script = inline_script(call=_CALL)
    return {
        "compared": rows,
        "fronts": fronts,
        "families": _families(one["row"] for one in rows),
        "percents": [f"{percent:g}" for percent in results.forgotten],
        "choose_style": shared_style(),
        "script": script.text,
        "script_digest": script.digest,
    }


_UNRESOLVED = (
    f"Fewer than {FEW} patients are forgotten, in fewer than {DRAWS} draws: too few to tell methods apart, so that no "
    "front is drawn."
)


def without_links(picture: str) -> str:
    """A front as a picture for a file of its own, where links would lead nowhere."""
    return re.sub(r' href="#[^"]*"', "", picture)


def number(cell: TableCell, digits: int) -> str:
    """A cell of the comparison, or why it has no number.

    Args:
        cell: Its value.
        digits: Behind the point.
    """
    return cell.reason if cell.value is None else f"{cell.value:.{digits}f}"


def _families(rows: Iterable[Compared]) -> list[str]:
    """The families that occur, in the order of the table of families."""
    there = {row.family for row in rows}
    return [family for family in (REFERENCE, *FAMILIES, OTHER) if family in there]
