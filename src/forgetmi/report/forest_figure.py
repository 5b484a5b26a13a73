"""Values with intervals by subgroup, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes

from forgetmi.report.number_text import plain
from forgetmi.report.svg import (
    INK,
    MUTED,
    RULE,
    SHAPES,
    STYLE,
    UNLEARNED,
    margin_text,
    panel,
    to_svg,
)


@dataclass(frozen=True)
class ForestRow:
    """One subgroup, or the heading of some (`value` None and no `note`)."""

    label: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def is_heading(self) -> bool:
        """Whether it has neither a value nor a reason for its absence."""
        return self.value is None and not self.note


def forest_panel(
    name: str,
    heading: str,
    rows: Sequence[ForestRow],
    *,
    axis: str,
    neutral: float,
    span: tuple[float, float],
    margin: float | None = None,
) -> str:
    """Values with intervals, one row a subgroup, against a neutral value; what cannot be said is written out.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        rows: From top to bottom.
        axis: Label of the axis.
        neutral: Value of "no difference".
        span: Ends of the axis.
        margin: Where given, a dashed line at the value that counts as harm.
    """
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.75, 0.85 + 0.235 * len(rows))
        # The loss that counts as harm, and no difference
        if margin is not None:
            axes.axvline(margin, color=INK, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        axes.axvline(neutral, color=MUTED, linewidth=1.1, zorder=1)

        # The first row at the top
        for place, row in enumerate(rows):
            y = len(rows) - 1 - place
            if row.is_heading:
                margin_text(
                    axes,
                    0.0,
                    y,
                    row.label,
                    ha="left",
                    fontsize=9.5,
                    color=INK,
                    fontweight="bold",
                )
            else:
                _draw_subgroup(axes, row, y)

        # Rows from top to bottom, values across
        axes.set(xlim=span, ylim=(-0.6, len(rows) - 0.4), yticks=[], title=heading)
        axes.set_xlabel(axis)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)

        words = [_forest_words(row) for row in rows if not row.is_heading]
        return to_svg(figure, name, heading, " ".join(words))


def _draw_subgroup(axes: Axes, row: ForestRow, y: float) -> None:
    if row.value is None:
        # Why there is no value
        margin_text(
            axes,
            1.0,
            y,
            row.note,
            ha="right",
            fontsize=9.5,
            color=MUTED,
            fontweight="normal",
        )
    else:
        # The value with its interval, and the number at the right
        if row.interval is not None:
            axes.plot(row.interval, [y, y], color=UNLEARNED, linewidth=1.5, zorder=2)
        axes.plot(
            [row.value],
            [y],
            **SHAPES["unlearned"],
            linestyle="none",
            zorder=3,
            clip_on=False,
        )
        margin_text(axes, 1.02, y, plain(row.value), fontsize=9.5, color=MUTED)

    margin_text(axes, -0.02, y, row.label, ha="right", fontsize=9.5, color=INK)


def _forest_words(row: ForestRow) -> str:
    if row.value is None:
        return f"{row.label}: {row.note}."

    interval = ""
    if row.interval:
        interval = f" ({row.interval[0]:.2f} to {row.interval[1]:.2f})"
    return f"{row.label}: {row.value:.2f}{interval}."
