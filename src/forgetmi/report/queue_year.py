"""A year of withdrawals for the committee: requests by month, deadlines, verdicts, drift of the model in service.

Its figures are a few plain SVG shapes: the ledger's commands stay light, and every number stands in words beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from markupsafe import Markup, escape

from forgetmi.report.number_text import many

MONTHS = 12
_WIDTH, _HEIGHT, _FLOOR, _TOP = (
    480,
    180,
    150,
    18,
)  # of a figure; its base line, and room for numbers
_MOST_LABELS = 6  # of words below a figure


class Request(Protocol):
    """What the summary needs of a request; see `forgetmi.report.queue.QueueRow`."""

    @property
    def received(self) -> date: ...
    @property
    def due(self) -> date: ...
    @property
    def ended(self) -> date | None: ...
    @property
    def verdict(self) -> str: ...
    def urgency(self, today: date) -> str: ...


@dataclass(frozen=True)
class DriftPoint:
    """The model in service after one run.

    Args:
        day: Of the run's record, YYYY-MM-DD.
        auc: On never-seen patients, main head; None = not measured.
        gap: To retrained models; None = not measured.
    """

    day: str
    auc: float | None
    gap: float | None


def year_values(
    rows: Sequence[Request], drift: Sequence[DriftPoint], *, today: date
) -> dict[str, Any]:
    """What the summary says of the twelve months up to a day.

    Args:
        rows: Every request of the ledger.
        drift: The model before the first run, then after each; empty = no run has closed a request.
        today: The last day.
    """
    months = _months(today)
    received = Counter(_month(row.received) for row in rows)
    ended = Counter(_month(row.ended) for row in rows if row.ended is not None)
    within = [row for row in rows if row.ended is not None and _month(row.ended) in months]

    in_time = sum(row.ended <= row.due for row in within if row.ended is not None)
    overdue = sum(row.urgency(today) == "overdue" for row in rows)
    deadlines = {"in time": in_time, "late": len(within) - in_time, "overdue now": overdue}
    verdicts = Counter(row.verdict or "no verdict" for row in within)

    return {
        "months": [(month, received[month], ended[month]) for month in months],
        "received": sum(received[month] for month in months),
        "month_figure": _bars(
            "year-months",
            "Requests received by month",
            {month[2:]: received[month] for month in months},
        ),
        "deadlines": deadlines,
        "deadline_figure": _bars("year-deadlines", "Deadlines", deadlines),
        "verdicts": dict(sorted(verdicts.items())),
        "verdict_figure": _bars(
            "year-verdicts", "How requests ended", dict(sorted(verdicts.items()))
        ),
        "ended": len(within),
        "drift": list(drift),
        "drift_figure": _line(
            "year-drift",
            "AUC on never-seen patients, run by run",
            [(point.day, point.auc) for point in drift if point.auc is not None],
        ),
        "drift_words": _drift_words(drift),
    }


def _month(day: date) -> str:
    return f"{day:%Y-%m}"


def _months(today: date) -> list[str]:
    """The last twelve months, the current one included, from the earliest on."""
    last = 12 * today.year + today.month - 1
    numbers = range(last - MONTHS + 1, last + 1)
    return [f"{number // 12:04}-{number % 12 + 1:02}" for number in numbers]


def _drift_words(drift: Sequence[DriftPoint]) -> str:
    measured = [point.auc for point in drift if point.auc is not None]
    if len(measured) < 2:
        return "No run has closed a request yet, or quality was not measured."
    change = measured[-1] - measured[0]
    return (
        f"Over {many(len(drift) - 1, 'run')} the AUC on never-seen patients went from {measured[0]:.3f} to "
        f"{measured[-1]:.3f} ({change:+.3f}). It moves by chance, too: the report of each run has its interval. "
        "Where it falls below what you accept, retrain once without everybody who withdrew."
    )


def _bars(name: str, title: str, values: Mapping[str, int]) -> Markup:
    """A bar for each value, its number on top; empty where there is nothing to draw."""
    highest = max(values.values(), default=0)
    if not highest:
        return Markup("")

    # As many words as fit beside each other, counted from the last bar
    step = _WIDTH / len(values)
    every = -(-len(values) // _MOST_LABELS)
    shapes = []
    for place, (label, value) in enumerate(values.items()):
        height = (_FLOOR - _TOP) * value / highest
        middle = (place + 0.5) * step
        shapes.append(
            f'<rect x="{middle - 0.3 * step:.1f}" y="{_FLOOR - height:.1f}" width="{0.6 * step:.1f}" '
            f'height="{height:.1f}" fill="#0a5f96"/>'
        )
        if value:
            shapes.append(_text(middle, _FLOOR - height - 4, str(value)))
        if (len(values) - 1 - place) % every == 0:
            shapes.append(_text(middle, _FLOOR + 16, label))
    words = "; ".join(f"{label}: {value}" for label, value in values.items())
    return _svg(name, title, words, shapes)


def _line(name: str, title: str, points: Sequence[tuple[str, float | None]]) -> Markup:
    """A line through dots, each with its number; empty with fewer than two."""
    values = [value for _, value in points if value is not None]
    if len(values) < 2:
        return Markup("")

    # Room of a tenth above and below, so that no dot lies on an edge
    low, high = min(values), max(values)
    spread = (high - low) or 0.01
    step = _WIDTH / len(values)
    places = []
    for place, value in enumerate(values):
        share = (value - low + 0.1 * spread) / (1.2 * spread)
        places.append(((place + 0.5) * step, _FLOOR - (_FLOOR - 2 * _TOP) * share))

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    shapes = [f'<polyline points="{path}" fill="none" stroke="#0a5f96" stroke-width="2"/>']

    # As many words as fit beside each other, counted from the last dot
    every = -(-len(points) // _MOST_LABELS)
    for place, ((x, y), (day, value)) in enumerate(zip(places, points, strict=True)):
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#0a5f96"/>')
        if (len(points) - 1 - place) % every == 0:
            shapes.append(_text(x, y - 9, f"{value:.3f}"))
            shapes.append(_text(x, _FLOOR + 16, day))
    words = "; ".join(f"{day}: {value:.3f}" for day, value in points)
    return _svg(name, title, words, shapes)


def _text(x: float, y: float, words: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="12" '
        f'fill="#1d2833">{escape(words)}</text>'
    )


def _svg(name: str, title: str, description: str, shapes: Sequence[str]) -> Markup:
    """A figure with a title and a description for screen readers, and a base line."""
    base = f'<line x1="0" x2="{_WIDTH}" y1="{_FLOOR}" y2="{_FLOOR}" stroke="#5a6773"/>'
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{name}-title {name}-words">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(description)}</desc>{"".join(shapes)}{base}</svg>'
    )
