"""Figures of the evaluation: dots that stack on a phone, told apart by shape and line as well as by colour; signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from forgetmi.report.svg import (
    BAND,
    INK,
    LINES,
    MUTED,
    RULE,
    SHADOW,
    SHAPES,
    STYLE,
    UNLEARNED,
    panel,
    to_svg,
)

# Signs of the figures' keys
SIGNS = (
    "original",
    "unlearned",
    "retrain",
    "target",
    "range",
    "withdrawn",
    "unseen",
    "original-line",
    "unlearned-line",
    "retrain-line",
    "chance-line",
    "remembered",
    "over",
    "dot",
)


@dataclass(frozen=True)
class Mark:
    """One value with its interval (None = no interval)."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class DotRow:
    """One measure for the three kinds of model; None = not measured.

    Args:
        label: What is measured.
        original, unlearned: The model before and after unlearning.
        retrains: One mark per retrained model.
        target: Another value to compare with (drawn as a small triangle), None = none.
    """

    label: str
    original: Mark | None
    unlearned: Mark | None
    retrains: tuple[Mark, ...]
    target: float | None = None


def dot_panel(
    name: str,
    heading: str,
    rows: Sequence[DotRow],
    *,
    axis: str = "",
    span: tuple[float, float],
    margin: float | None = None,
) -> str:
    """Dots with intervals for original and unlearned, and the retrained models' range as a band, one row a measure.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        rows: From top to bottom.
        axis: Label of the axis.
        span: Ends of the axis.
        margin: Where given, a band of +-margin around 0 and a line at 0.
    """
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.75, 0.75 + 0.66 * len(rows))

        # What counts as no difference
        if margin is not None:
            axes.axvspan(-margin, margin, color=BAND, alpha=0.55, linewidth=0, zorder=0)
            axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)

        # The first row at the top
        for place, row in enumerate(rows):
            y = len(rows) - 1 - place
            _draw_row(axes, row, y)
            _label_row(axes, row, y)

        # Room for the first row's label
        axes.set(xlim=span, ylim=(-0.5, len(rows) - 0.44), title=heading, yticks=[])
        axes.set_xlabel(axis)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        return to_svg(figure, name, heading, " ".join(_words(row) for row in rows))


def strip(name: str, row: DotRow, *, span: tuple[float, float]) -> str:
    """One row of `dot_panel` without text, for a summary box."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(2.9, 0.44)
        _draw_row(axes, row, 0)

        # No axes: the summary box has the numbers
        axes.set(xlim=span, ylim=(-0.5, 0.24), yticks=[], xticks=[])
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name, row.label, _words(row))


@cache
def sign(kind: str) -> str:
    """A small sign for a figure's key, one of `SIGNS`."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(0.38, 0.2)
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
        axes.axis("off")

        # Areas, lines, and shapes of models and patients
        if kind in ("range", "unseen"):
            _area_sign(axes, outlined=kind == "unseen")
        elif kind == "withdrawn":
            axes.plot([-1, 1], [0, 0], color=UNLEARNED, linewidth=2)
        elif kind.endswith("-line"):
            axes.plot([-1, 1], [0, 0], **LINES[kind.removesuffix("-line")])
        else:
            _shape_sign(axes, kind)

        return to_svg(figure, f"sign-{kind}", "", "")


def _area_sign(axes: Axes, *, outlined: bool) -> None:
    axes.axhspan(
        -0.9,
        0.9,
        facecolor=BAND,
        edgecolor=SHADOW,
        linewidth=0.9 if outlined else 0,
    )


def _shape_sign(axes: Axes, kind: str) -> None:
    # Models with an interval have a line through their shape
    if kind in ("original", "unlearned"):
        axes.plot([-1, 1], [0, 0], color=SHAPES[kind]["markeredgecolor"], linewidth=1.5)

    shape = SHAPES["unlearned" if kind == "dot" else kind]
    axes.plot([0], [0], **shape, linestyle="none")


def _draw_row(axes: Axes, row: DotRow, y: float) -> None:
    """Retrained models in the middle, the original above, the unlearned model below, a target at the bottom."""
    # Range and values of the retrained models
    if row.retrains:
        values = [mark.value for mark in row.retrains]
        axes.fill_betweenx(
            [y - 0.34, y + 0.06], min(values), max(values), color=BAND, linewidth=0, zorder=1
        )
        axes.plot(
            values,
            [y - 0.14] * len(values),
            **SHAPES["retrain"],
            linestyle="none",
            zorder=3,
            clip_on=False,
        )

    # Before and after unlearning
    if row.original is not None:
        _draw_mark(axes, "original", row.original, y - 0.02)
    if row.unlearned is not None:
        _draw_mark(axes, "unlearned", row.unlearned, y - 0.26)

    # Flag rate of never-seen patients
    if row.target is not None:
        axes.plot(
            [row.target], [y - 0.41], **SHAPES["target"], linestyle="none", zorder=4, clip_on=False
        )


def _draw_mark(axes: Axes, kind: str, mark: Mark, y: float) -> None:
    """A value with its interval."""
    shape = SHAPES[kind]
    if mark.interval is not None:
        axes.plot(
            mark.interval,
            [y] * 2,
            color=shape["markeredgecolor"],
            linewidth=1.5,
            zorder=2,
        )
    axes.plot([mark.value], [y], **shape, linestyle="none", zorder=4, clip_on=False)


def _label_row(axes: Axes, row: DotRow, y: float) -> None:
    """The name at the left, the numbers at the right, above the marks."""
    # Across in shares of the axes, up in units of the rows
    row_height = blended_transform_factory(axes.transAxes, axes.transData)
    axes.text(0, y + 0.32, row.label, transform=row_height, va="center", color=INK, zorder=5)
    axes.text(
        1,
        y + 0.32,
        _numbers(row),
        transform=row_height,
        va="center",
        ha="right",
        color=MUTED,
        zorder=5,
    )


def _numbers(row: DotRow) -> str:
    """Original, unlearned, and the retrained models' mean."""
    text = f"{_number(row.original)} → {_number(row.unlearned)}"
    if row.retrains:
        mean = np.mean([mark.value for mark in row.retrains])
        text += f"  |  {mean:.2f}"
    return text


def _number(mark: Mark | None) -> str:
    return "–" if mark is None else f"{mark.value:.2f}"


def _words(row: DotRow) -> str:
    """The row for screen readers."""
    parts = [_mark_words("original", row.original), _mark_words("unlearned", row.unlearned)]

    if row.retrains:
        values = [mark.value for mark in row.retrains]
        parts.append(f"{len(values)} retrained from {min(values):.3f} to {max(values):.3f}")
    if row.target is not None:
        parts.append(f"never-seen patients {row.target:.3f}")

    return f"{row.label}: {', '.join(parts)}."


def _mark_words(name: str, mark: Mark | None) -> str:
    if mark is None:
        return f"{name} not measured"

    interval = ""
    if mark.interval:
        interval = f" ({mark.interval[0]:.3f} to {mark.interval[1]:.3f})"
    return f"{name} {mark.value:.3f}{interval}"
