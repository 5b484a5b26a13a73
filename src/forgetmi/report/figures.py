"""Figures of the evaluation: small panels that stack on a phone, told apart by shape and line as well as by colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from forgetmi.core.arrays import Floats
from forgetmi.report.svg import (
    BAND,
    INK,
    LINES,
    MUTED,
    RULE,
    SHAPES,
    STYLE,
    UNLEARNED,
    panel,
    to_svg,
)

LOWEST_LOSS = 1e-6
MOST_LABELS = 8  # of a trade-off plot; more would cover each other


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


@dataclass(frozen=True)
class ModelPoint:
    """One model in a trade-off plot: x = how it treats the withdrawn, y = its use for never-seen patients."""

    kind: str
    label: str
    x: Mark
    y: Mark


def loss_panel(
    name: str,
    heading: str,
    *,
    withdrawn: Floats,
    unseen: Floats,
    span: tuple[float, float],
    top: float,
) -> str:
    """Loss distributions of withdrawn and never-seen patients under one model: a panel of the paper's Figure 3.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        withdrawn, unseen: Cross-entropy per image, >= 0.
        span: Lowest and highest loss of the axis, shared by the panels that are compared (see `loss_span`).
        top: Largest share on the vertical axis, shared too (see `loss_shares`).
    """
    edges = np.log10(
        _edges(span)
    )  # a linear axis of logarithms: matplotlib's logarithmic one is much slower
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.15, 2.85)
        axes.stairs(loss_shares(unseen, span), edges, fill=True, color=BAND, zorder=1)
        axes.stairs(loss_shares(unseen, span), edges, color="#8b96a1", linewidth=0.9, zorder=2)
        axes.stairs(loss_shares(withdrawn, span), edges, color=UNLEARNED, linewidth=2.0, zorder=3)
        for values, colour, dashes in ((unseen, MUTED, (2, 2)), (withdrawn, UNLEARNED, (6, 2))):
            median = np.log10(np.median(np.clip(values, *span)))
            axes.axvline(float(median), color=colour, linewidth=1.3, dashes=dashes, zorder=4)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, top * 1.06), title=heading)
        axes.set_xlabel("loss of an image (logarithmic)")
        axes.set_ylabel("share of images")
        powers = _powers(span)
        axes.set_xticks(powers, [f"{10.0**power:g}" for power in powers])
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y", color=RULE, linewidth=0.7)
        return to_svg(
            figure,
            name,
            heading,
            (
                f"Histograms on a logarithmic axis. Median loss of the withdrawn patients' {len(withdrawn)} images "
                f"{np.median(withdrawn):.3g}, of the never-seen patients' {len(unseen)} images {np.median(unseen):.3g}."
            ),
        )


def loss_span(losses: Sequence[Floats]) -> tuple[float, float]:
    """A common axis for several distributions: from the 0.5 % to the 99.9 % quantile; the rest goes to its ends."""
    every = np.maximum(np.concatenate(losses), LOWEST_LOSS)
    low, high = float(np.quantile(every, 0.005)), float(np.quantile(every, 0.999))
    return low / 1.3, max(high * 1.3, low * 10)


def loss_shares(values: Floats, span: tuple[float, float]) -> Floats:
    """Share of the images in each of the histogram's bins."""
    counts, _ = np.histogram(np.clip(values, *span), _edges(span))
    return counts / len(values)


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
        if margin is not None:
            axes.axvspan(-margin, margin, color=BAND, alpha=0.55, linewidth=0, zorder=0)
            axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
        for place, row in enumerate(rows):
            _draw_row(axes, row, len(rows) - 1 - place)
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
        _draw_row(axes, row, 0, labelled=False)
        axes.set(xlim=span, ylim=(-0.5, 0.24), yticks=[], xticks=[])
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name, row.label, _words(row))


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
            with their names beside the axes.
        x_label, y_label: Of the axes.
        distance: Whether the horizontal axis is a distance: it, and the band, then start at 0.
    """
    with mpl.rc_context(STYLE):
        points = sorted(points, key=lambda point: point.x.value)
        crowded = sum(bool(point.label) for point in points) > MOST_LABELS
        figure, axes = panel(11, 4.2) if crowded else panel(4.75, 3.5)
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
            shape = SHAPES[point.kind]
            x, y = point.x.value, point.y.value
            if point.y.interval is not None:
                axes.plot(
                    [x, x],
                    point.y.interval,
                    color=shape["markeredgecolor"],
                    linewidth=1.2,
                    alpha=0.45 if point.kind == "retrain" or crowded else 1,
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
            if point.label and not crowded:
                axes.annotate(
                    point.label,
                    (x, y),
                    xytext=(7, 5),
                    textcoords="offset points",
                    color=INK,
                    zorder=5,
                )
        if crowded:
            figure.set_layout_engine("none")
            axes.set_position((0.06, 0.14, 0.42, 0.82))
            _number(axes, [point for point in points if point.label])
        axes.set(title=heading, xlabel=x_label, ylabel=y_label)
        axes.margins(x=0.14, y=0.12)
        if distance:
            ends = [
                *(p.x.value for p in points),
                *(p.x.interval[1] for p in points if p.x.interval),
            ]
            axes.set_xlim(0, max(ends) * 1.22)
        axes.grid(color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        return to_svg(
            figure,
            name,
            heading,
            " ".join(
                f"{p.label or p.kind}: {x_label} {p.x.value:.3f}, {y_label} {p.y.value:.3f}."
                for p in points
            ),
        )


def _number(axes: Axes, points: Sequence[ModelPoint]) -> None:
    """Numbers at the points, those of close neighbours at different heights, and their names in two columns."""
    half = math.ceil(len(points) / 2)
    for at, point in enumerate(points):
        axes.annotate(
            str(at + 1),
            (point.x.value, point.y.value),
            xytext=(4, (5, -12, 15, -22)[at % 4]),
            textcoords="offset points",
            color=INK,
            zorder=5,
            fontsize="x-small",
        )
        column, row = divmod(at, half)
        axes.annotate(
            f"{at + 1}  {point.label}",
            (1.03 + 0.6 * column, 1 - (row + 0.5) / half),
            color=INK,
            xycoords="axes fraction",
            va="center",
            fontsize="x-small",
            annotation_clip=False,
        )


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


@cache
def sign(kind: str) -> str:
    """A small sign for a figure's key, one of `SIGNS`."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(0.38, 0.2)
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
        axes.axis("off")
        if kind in ("range", "unseen"):
            axes.axhspan(
                -0.9,
                0.9,
                facecolor=BAND,
                edgecolor="#8b96a1",
                linewidth=0.9 if kind == "unseen" else 0,
            )
        elif kind == "withdrawn":
            axes.plot([-1, 1], [0, 0], color=UNLEARNED, linewidth=2)
        elif kind.endswith("-line"):
            axes.plot([-1, 1], [0, 0], **LINES[kind.removesuffix("-line")])
        else:
            if kind in ("original", "unlearned"):
                axes.plot([-1, 1], [0, 0], color=SHAPES[kind]["markeredgecolor"], linewidth=1.5)
            axes.plot([0], [0], **SHAPES["unlearned" if kind == "dot" else kind], linestyle="none")
        return to_svg(figure, f"sign-{kind}", "", "")


def _draw_row(axes: Axes, row: DotRow, y: float, *, labelled: bool = True) -> None:
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
    for kind, mark, shift in (
        ("original", row.original, -0.02),
        ("unlearned", row.unlearned, -0.26),
    ):
        if mark is None:
            continue
        if mark.interval is not None:
            axes.plot(
                mark.interval,
                [y + shift] * 2,
                color=SHAPES[kind]["markeredgecolor"],
                linewidth=1.5,
                zorder=2,
            )
        axes.plot(
            [mark.value], [y + shift], **SHAPES[kind], linestyle="none", zorder=4, clip_on=False
        )
    if row.target is not None:
        axes.plot(
            [row.target], [y - 0.41], **SHAPES["target"], linestyle="none", zorder=4, clip_on=False
        )
    if labelled:
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        axes.text(0, y + 0.32, row.label, transform=beside, va="center", color=INK, zorder=5)
        axes.text(
            1,
            y + 0.32,
            _numbers(row),
            transform=beside,
            va="center",
            ha="right",
            color=MUTED,
            zorder=5,
        )


def _numbers(row: DotRow) -> str:
    steps = " → ".join(
        "–" if mark is None else f"{mark.value:.2f}" for mark in (row.original, row.unlearned)
    )
    return (
        f"{steps}  |  {np.mean([mark.value for mark in row.retrains]):.2f}"
        if row.retrains
        else steps
    )


def _words(row: DotRow) -> str:
    def mark(name: str, value: Mark | None) -> str:
        if value is None:
            return f"{name} not measured"
        interval = (
            f" ({value.interval[0]:.3f} to {value.interval[1]:.3f})" if value.interval else ""
        )
        return f"{name} {value.value:.3f}{interval}"

    parts = [mark("original", row.original), mark("unlearned", row.unlearned)]
    if row.retrains:
        values = [retrain.value for retrain in row.retrains]
        parts.append(f"{len(values)} retrained from {min(values):.3f} to {max(values):.3f}")
    if row.target is not None:
        parts.append(f"never-seen patients {row.target:.3f}")
    return f"{row.label}: {', '.join(parts)}."


def _edges(span: tuple[float, float]) -> Floats:
    return np.geomspace(*span, 19)


def _powers(span: tuple[float, float]) -> list[int]:
    """Powers of ten within the axis, at most six."""
    low, high = math.ceil(math.log10(span[0])), math.floor(math.log10(span[1]))
    return list(range(high, low - 1, -max(1, -(-(high - low + 1) // 6))))
