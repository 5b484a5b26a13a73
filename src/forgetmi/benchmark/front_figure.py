"""The front of cost against closeness as plain SVG: every method is a named link to its row, by key and by reader."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from forgetmi.benchmark.comparison import REFERENCE, Compared
from forgetmi.report.svg import INK, MUTED, RETRAIN, RULE, UNLEARNED

_WIDTH, _HEIGHT = 560, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 18, 56  # room for the axes' numbers and titles
_LETTER, _LINE = 8.2, 17.0  # a letter's width and a line's height
_LINES = 12  # how far a name may move
_TICKS = 5


def front_figure(name: str, rows: Sequence[Compared], addresses: Sequence[str]) -> Markup:
    """Cost across, gap over floor upwards; a line through the methods that none other beats in both.

    Names stand at the methods on the front; at the others they show when reached with a pointer or a key.

    Args:
        name: Prefix of identifiers, distinct on a page.
        rows: Of one percentage.
        addresses: For each row where its link leads.

    Returns:
        Nothing where no method has both numbers.
    """
    shown: list[tuple[float, float, str, Compared]] = []
    for row, address in zip(rows, addresses, strict=True):
        if row.place is not None:
            shown.append((*row.place, address, row))
    if not shown:
        return Markup("")
    shown.sort(key=lambda one: one[:2])

    # Both axes begin at 0; Retrain is at 1 and 1, and the original is drawn where it is
    original = next((row.gap.value for row in rows if row.family == REFERENCE), None)
    costs = [cost for cost, _, _, _ in shown]
    gaps = [gap for _, gap, _, _ in shown]
    across = _Axis(max(1.0, *costs), _LEFT, _WIDTH - _RIGHT)
    upwards = _Axis(max(1.0, original or 0.0, *gaps), _HEIGHT - _BOTTOM, _TOP)

    parts = [_ground(across, upwards, original)]
    line = [(across.at(cost), upwards.at(gap)) for cost, gap, _, row in shown if row.on_front]
    if len(line) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(
            f'<polyline class="line" points="{path}" fill="none" stroke="{UNLEARNED}" stroke-width="2"/>'
        )

    # From left to right, in which order a key goes through them
    labels = _Labels([(across.at(cost), upwards.at(gap)) for cost, gap, _, _ in shown])
    for cost, gap, address, row in shown:
        x, y = across.at(cost), upwards.at(gap)
        parts.append(_point(row, x, y, labels.place(row, x, y), address))

    best = [row.label for _, _, _, row in shown if row.on_front]
    words = f"On the front: {', '.join(best)}." if best else "No front is drawn."
    title = f"Cost against closeness, {rows[0].percent:g} % forgotten"
    return Markup(
        f'<svg class="front" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" font-size="15" '
        f'aria-labelledby="{name}-title {name}-words"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(words)}</desc>{"".join(parts)}</svg>'
    )


class _Axis:
    """From values, 0 to somewhat above the largest, to places between two ends."""

    def __init__(self, largest: float, start: float, end: float) -> None:
        self.top = largest * 1.06
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        return self.start + (self.end - self.start) * value / self.top

    def ticks(self) -> list[float]:
        """About five round values: steps of 1, 2 or 5 times a power of ten."""
        rough = self.top / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
        return [step * count for count in range(int(self.top / step) + 1)]


class _Labels:
    """Where the names on the front stand, so that none lies on another or on a point."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._taken = [(x - 6, 12.0, y + 6) for x, y in points]

    def place(self, row: Compared, x: float, y: float) -> tuple[float, float, str]:
        """Left or right end of a name, its base line, and which end it is."""
        width = _LETTER * len(row.label)
        fits_right = x + 9 + width <= _WIDTH
        start = x + 9 if fits_right else max(0.0, x - 9 - width)

        # Where something stands already: the nearest free line above or below
        base = y - 5
        if row.on_front:
            lines = [base - _LINE * count for count in range(_LINES)]
            lines += [y + _LINE * (count + 1) for count in range(_LINES)]
            lines = [line for line in lines if _LINE < line < _HEIGHT - _BOTTOM]
            lines.sort(key=lambda line: abs(line - base))
            base = next((line for line in lines if self._free(start, width, line)), base)
        if row.on_front:
            self._taken.append((start, width, base))
        return (start, base, "start") if fits_right else (start + width, base, "end")

    def _free(self, start: float, width: float, base: float) -> bool:
        """Whether nothing that stands already is touched there."""
        return not any(_touches((start, width, base), other) for other in self._taken)


def _touches(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Whether two things, each with left end, width and base line, lie on each other."""
    (start, width, base), (its_start, its_width, its_base) = one, other
    apart = start > its_start + its_width or its_start > start + width
    return not apart and abs(base - its_base) < _LINE


def _point(row: Compared, x: float, y: float, label: tuple[float, float, str], address: str) -> str:
    """A method: its shape, its name, and its numbers for whoever does not see them."""
    assert row.place is not None
    cost, gap = row.place
    words = f"{row.label}: cost {cost:.2f} of a retraining, gap {gap:.1f} times the floor"

    # On the front filled and large; never told by colour alone
    if row.on_front:
        words += ", on the front"
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{UNLEARNED}" stroke="{UNLEARNED}"/>'
    else:
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="white" stroke="{MUTED}" stroke-width="1.5"/>'

    place, base, anchor = label
    hidden = "" if row.on_front else ' visibility="hidden"'
    text = (
        f'<text x="{place:.1f}" y="{base:.1f}" text-anchor="{anchor}" fill="{INK}"{hidden} '
        f'aria-hidden="true">{escape(row.label)}</text>'
    )
    kind = "best" if row.on_front else "beaten"
    return (
        f'<a class="{kind}" href="#{escape(address)}" aria-label="{escape(words)}">'
        f"<title>{escape(words)}</title>{shape}{text}</a>"
    )


def _ground(across: _Axis, upwards: _Axis, original: float | None) -> str:
    """Axes with numbers and titles, the floor, Retrain and the original, all of them in the table, too."""
    floor, left, right = upwards.start, across.start, across.end
    parts = []
    for value in across.ticks():
        x = across.at(value)
        parts.append(_rule(x, floor, x, upwards.end, RULE))
        parts.append(_text(x, floor + 20, f"{value:g}", "middle"))
    for value in upwards.ticks():
        y = upwards.at(value)
        parts.append(_rule(left, y, right, y, RULE))
        parts.append(_text(left - 7, y + 4, f"{value:g}", "end"))

    # As near as retrained models are to each other, and where the original is
    near = upwards.at(1.0)
    parts.append(_rule(left, near, right, near, RETRAIN, dashes="6 4"))
    if original is not None:
        y = upwards.at(original)
        parts.append(_rule(left, y, right, y, MUTED, dashes="2 3"))
        parts.append(_text(right, y - 5, "original", "end"))
    x = across.at(1.0)
    corners = f"{x:.1f},{near - 7:.1f} {x + 7:.1f},{near:.1f} {x:.1f},{near + 7:.1f} {x - 7:.1f},{near:.1f}"
    parts.append(f'<polygon class="retrain" points="{corners}" fill="{RETRAIN}"/>')
    below_taken = original is not None and 0 <= upwards.at(original) - near < 3 * _LINE
    parts.append(
        _text(min(x, right - 30), near - 12 if below_taken else near + 23, "Retrain", "middle")
    )

    # Titles of the axes
    parts.append(
        _text((left + right) / 2, floor + 46, "cost, as a share of one retraining", "middle")
    )
    middle = (floor + upwards.end) / 2
    parts.append(
        f'<text x="15" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 15 {middle:.1f})" '
        f'fill="{MUTED}">gap over its floor</text>'
    )
    return f'<g class="ground" aria-hidden="true">{"".join(parts)}</g>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    kind = "mark" if dashes else "grid"
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}"{dashed}/>'
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{MUTED}">{escape(words)}</text>'
