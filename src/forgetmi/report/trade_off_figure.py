"""How a model treats the withdrawn patients against how useful it is for never-seen ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes

from forgetmi.report.figures import Mark
from forgetmi.report.svg import BAND, INK, RULE, SHAPES, STYLE, panel, to_svg

MOST_LABELS = 8  # more would cover each other
_HEIGHTS = (5, -12, 15, -22)  # points: numbers of close neighbours stand at different heights


@dataclass(frozen=True)
class ModelPoint:
    """One model in a trade-off plot: x = how it treats the withdrawn, y = its use for never-seen patients."""

    kind: str
    label: str
    x: Mark
    y: Mark


def trade_off_panel(
    name: str,
    heading: str,
    points: Sequence[ModelPoint],
    *,
    x_label: str,
    y_label: str,
    distance: bool = True,
) -> str:
    """How a model treats the withdrawn patients against how useful it is for never-seen ones.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        points: The models; what the retrained ones reach horizontally is a band. Many are numbered from left to right,
            with their names next to the axes.
        x_label, y_label: Of the axes.
        distance: Whether the horizontal axis is a distance: it, and the band, then start at 0.
    """
    with mpl.rc_context(STYLE):
        points = sorted(points, key=lambda point: point.x.value)
        labelled = [point for point in points if point.label]
        crowded = len(labelled) > MOST_LABELS
        figure, axes = panel(11, 4.2) if crowded else panel(4.75, 3.5)

        # What retrained models reach
        reached = [point.x.value for point in points if point.kind == "retrain"]
        if reached:
            axes.axvspan(
                0 if distance else min(reached),
                max(reached),
                color=BAND,
                alpha=0.55,
                linewidth=0,
                zorder=0,
            )

        for point in points:
            _draw_point(axes, point, faint=point.kind == "retrain" or crowded)
            if point.label and not crowded:
                _label(axes, point)

        # Numbers at the points, names at the right
        if crowded:
            figure.set_layout_engine("none")
            axes.set_position((0.06, 0.14, 0.42, 0.82))
            _number(axes, labelled)

        # Room around the outermost points
        axes.set(title=heading, xlabel=x_label, ylabel=y_label)
        axes.margins(x=0.14, y=0.12)
        if distance:
            axes.set_xlim(0, _largest(points) * 1.22)
        axes.grid(color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)

        words = [_words(point, x_label, y_label) for point in points]
        return to_svg(figure, name, heading, " ".join(words))


def _draw_point(axes: Axes, point: ModelPoint, *, faint: bool) -> None:
    """A point with its intervals."""
    shape = SHAPES[point.kind]
    x, y = point.x.value, point.y.value

    # Vertical and horizontal interval
    if point.y.interval is not None:
        axes.plot(
            [x, x],
            point.y.interval,
            color=shape["markeredgecolor"],
            linewidth=1.2,
            alpha=0.45 if faint else 1,
            zorder=2,
        )
    if point.x.interval is not None:
        axes.plot(
            point.x.interval,
            [y, y],
            color=shape["markeredgecolor"],
            linewidth=1.2,
            zorder=2,
        )

    axes.plot([x], [y], **shape, linestyle="none", zorder=4)


def _label(axes: Axes, point: ModelPoint) -> None:
    axes.annotate(
        point.label,
        (point.x.value, point.y.value),
        xytext=(7, 5),
        textcoords="offset points",
        color=INK,
        zorder=5,
    )


def _number(axes: Axes, points: Sequence[ModelPoint]) -> None:
    """Numbers at the points, those of close neighbours at different heights, and their names in two columns."""
    # Names in two columns
    half = math.ceil(len(points) / 2)
    for index, point in enumerate(points):
        axes.annotate(
            str(index + 1),
            (point.x.value, point.y.value),
            xytext=(4, _HEIGHTS[index % 4]),
            textcoords="offset points",
            color=INK,
            zorder=5,
            fontsize="x-small",
        )

        # The name next to the axes
        column, row = divmod(index, half)
        axes.annotate(
            f"{index + 1}  {point.label}",
            (1.03 + 0.6 * column, 1 - (row + 0.5) / half),
            color=INK,
            xycoords="axes fraction",
            va="center",
            fontsize="x-small",
            annotation_clip=False,
        )


def _largest(points: Sequence[ModelPoint]) -> float:
    """The largest value or end of an interval."""
    ends = [point.x.value for point in points]
    for point in points:
        if point.x.interval:
            ends.append(point.x.interval[1])
    return max(ends)


def _words(point: ModelPoint, x_label: str, y_label: str) -> str:
    name = point.label or point.kind
    return f"{name}: {x_label} {point.x.value:.3f}, {y_label} {point.y.value:.3f}."
