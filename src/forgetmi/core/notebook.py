"""How records look in a notebook: small tables without a script and without anything from a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

MOST_ROWS = 40  # a longer table would hide the rest of a notebook


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in HTML; of very many rows the first, and how many there are.

    Args:
        caption: What the table shows.
        header: Names of the columns.
        rows: Their cells as text; they are escaped here.
    """
    every = list(rows)
    shown = every[:MOST_ROWS]

    # Cells, row by row
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = []
    for row in shown:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        body.append(f"<tr>{cells}</tr>")

    words = escape(caption)
    if len(every) > len(shown):
        words += f" ({len(shown)} of {len(every)} rows; to_frame() has all of them)"
    return (
        f"<table><caption>{words}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def number(value: float | None) -> str:
    """A number with three decimals; empty = there is none."""
    return "" if value is None else f"{value:.3f}"


def span(interval: tuple[float, float] | None) -> str:
    """An interval with three decimals; empty = there is none."""
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
