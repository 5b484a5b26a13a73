"""Figures of the audit: how an attack fares, who stands out, which subgroup differs, how fast memory comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from forgetmi.core.arrays import Floats
from forgetmi.report.number_text import plain
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

_ORDER = ("chance", "retrain", "original", "unlearned")  # from back to front
_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)  # of logarithmic rates


# ROC curves of an attack


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of one attack on one model.

    Args:
        kind: "original", "unlearned" or "retrain".
        members, never_seen: Float[f], Float[m], one score per patient, larger = more like a member.
    """

    kind: str
    members: Floats
    never_seen: Floats


def rates(curve: Curve) -> tuple[Floats, Floats]:
    """False- and true-positive rates at every threshold, from none accused to all; only strict excess accuses."""
    # Every score is a threshold, the highest first
    thresholds = np.unique(np.concatenate([curve.members, curve.never_seen]))[::-1]

    false = (curve.never_seen[:, None] > thresholds).mean(0)
    true = (curve.members[:, None] > thresholds).mean(0)

    # The last threshold accuses everybody
    return np.append(false, 1.0), np.append(true, 1.0)


def roc_panel(name: str, heading: str, curves: Sequence[Curve]) -> str:
    """True- against false-positive rates on logarithmic axes (Carlini et al. 2022), over patients.

    Left of the smallest rate that the number of never-seen patients allows, the share found without any false alarm.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        curves: One or more models, on the same patients.
    """
    members, never_seen = len(curves[0].members), len(curves[0].never_seen)
    smallest = 1 / never_seen  # false-positive rate
    left, lowest = smallest / 1.9, 0.6 / members

    with mpl.rc_context(STYLE):
        figure, axes = panel(3.1, 2.9)
        axes.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(lowest, 1.12), title=heading)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")

        # Rates that so few patients cannot show, and chance
        axes.axvspan(left, smallest, color=BAND, alpha=0.7, linewidth=0, zorder=0)
        axes.plot([smallest, 1], [smallest, 1], **LINES["chance"], zorder=1)

        # Steps, not interpolated
        for curve in sorted(curves, key=lambda curve: _ORDER.index(curve.kind)):
            false, true = rates(curve)
            axes.step(
                np.maximum(false, left),
                np.maximum(true, lowest / 2),
                where="post",
                **LINES[curve.kind],
                zorder=2 + _ORDER.index(curve.kind),
            )

        _rate_ticks(axes.set_xticks, never_seen)
        _rate_ticks(axes.set_yticks, members)
        axes.minorticks_off()
        axes.grid(color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        return to_svg(figure, name, heading, _roc_words(curves))


def _rate_ticks(set_ticks: Callable[..., Any], patients: int) -> None:
    """Ticks from one patient upwards."""
    others = [tick for tick in _TICKS if tick > 1.7 / patients]
    labels = [f"{tick:g}" for tick in others]
    set_ticks([1 / patients, *others], [f"1/{patients}", *labels])


def _roc_words(curves: Sequence[Curve]) -> str:
    members, never_seen = len(curves[0].members), len(curves[0].never_seen)
    of_curves = " ".join(_curve_words(curve) for curve in curves)
    return (
        f"{members} withdrawn and {never_seen} never-seen patients; the smallest false-positive rate "
        f"they allow is {1 / never_seen:.3g}. {of_curves}"
    )


def _curve_words(curve: Curve) -> str:
    false, true = rates(curve)
    without = true[false <= 0.0].max()
    at_ten_percent = true[false <= 0.1].max()
    return (
        f"{curve.kind}: true-positive rate {without:.2f} without a false alarm "
        f"and {at_ten_percent:.2f} at 10 % false alarms."
    )


# One row per withdrawn patient


@dataclass(frozen=True)
class PatientMark:
    """One withdrawn patient.

    Args:
        label: Short digest.
        score: Standardised on never-seen patients, 0 = like one of them.
        mark: "remembered", "over" or "" after correction for the number of patients.
        note: What stands at the right of the row.
    """

    label: str
    score: float
    mark: str
    note: str


def strip_panel(
    name: str, heading: str, patients: Sequence[PatientMark], *, never_seen: Floats
) -> str:
    """One row per withdrawn patient, the distribution of never-seen patients above and behind.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        patients: From top to bottom.
        never_seen: Float[m], their scores.
    """
    count = len(patients)
    top = count + 3.2
    low, high = np.quantile(never_seen, [0.025, 0.975])
    edge = _strip_edge(patients, never_seen)

    with mpl.rc_context(STYLE):
        figure, axes = panel(4.75, 0.85 + 0.185 * top)

        # Never-seen patients: the middle 95 % behind all rows, the histogram above them
        axes.axvspan(float(low), float(high), color=BAND, alpha=0.55, linewidth=0, zorder=0)
        bins = np.linspace(-edge, edge, 31)
        counts, edges = np.histogram(np.clip(never_seen, -edge, edge), bins)
        axes.stairs(
            count + 2.4 * counts / counts.max(),
            edges,
            baseline=count,
            fill=True,
            color=SHADOW,
        )
        axes.axvline(0, color=MUTED, linewidth=0.9)

        for place, patient in enumerate(patients):
            _draw_patient(axes, patient, count - 1 - place + 0.35)

        _margin_text(axes, -0.02, count + 1.2, "never seen", ha="right", fontsize=9, color=MUTED)

        # The scores themselves need no vertical axis
        axes.set(xlim=(-edge, edge), ylim=(-0.4, top), yticks=[], title=heading)
        axes.set_xlabel("← more of a stranger  |  more remembered →")
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name, heading, _strip_words(patients, never_seen))


def _strip_edge(patients: Sequence[PatientMark], never_seen: Floats) -> float:
    """End of the axis: every patient, and nearly all never-seen ones."""
    scores = [abs(patient.score) for patient in patients]
    tails = np.abs(np.quantile(never_seen, [0.005, 0.995]))
    return 1.08 * max(3.0, *scores, *tails)


def _draw_patient(axes: Axes, patient: PatientMark, y: float) -> None:
    axes.plot([0, patient.score], [y, y], color=UNLEARNED, linewidth=0.9, alpha=0.6, zorder=2)

    # Who stands out has a larger mark
    shape = SHAPES[patient.mark or "unlearned"]
    if not patient.mark:
        shape = {**shape, "markersize": 5}
    axes.plot([patient.score], [y], **shape, linestyle="none", zorder=4, clip_on=False)

    _margin_text(
        axes, -0.02, y, patient.label, ha="right", fontsize=9, color=INK, family="monospace"
    )
    _margin_text(axes, 1.02, y, patient.note, ha="left", fontsize=9, color=MUTED)


def _strip_words(patients: Sequence[PatientMark], never_seen: Floats) -> str:
    low, high = np.quantile(never_seen, [0.025, 0.975])

    parts = []
    for patient in patients:
        out = ", stands out" if patient.mark else ""
        parts.append(f"{patient.label} {patient.score:.2f}{out}")

    return (
        f"{len(never_seen)} never-seen patients, 95 % of them between {low:.2f} and {high:.2f}. "
        f"{'; '.join(parts)}."
    )


# One row per subgroup


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
        if margin is not None:
            axes.axvline(margin, color=INK, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        axes.axvline(neutral, color=MUTED, linewidth=1.1, zorder=1)

        for place, row in enumerate(rows):
            y = len(rows) - 1 - place
            if row.is_heading:
                _margin_text(
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
        _margin_text(
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
        _margin_text(axes, 1.02, y, plain(row.value), fontsize=9.5, color=MUTED)

    _margin_text(axes, -0.02, y, row.label, ha="right", fontsize=9.5, color=INK)


def _forest_words(row: ForestRow) -> str:
    if row.value is None:
        return f"{row.label}: {row.note}."

    interval = ""
    if row.interval:
        interval = f" ({row.interval[0]:.2f} to {row.interval[1]:.2f})"
    return f"{row.label}: {row.value:.2f}{interval}."


def _margin_text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Text at the height of a row, its place across as a share of the axes' width."""
    row_height = blended_transform_factory(axes.transAxes, axes.transData)
    axes.text(x, y, text, transform=row_height, va="center", **style)


# Relearning


@dataclass(frozen=True, eq=False)
class Relearned:
    """Loss on the patients taught again: Float[1 + e], before the first epoch and after each."""

    kind: str
    losses: Floats


def relearn_panel(name: str, heading: str, curves: Sequence[Relearned], *, threshold: float) -> str:
    """How fast withdrawn patients are learnt again, against the original's loss on them.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        curves: The unlearned and the retrained models.
        threshold: The original's loss.
    """
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.15, 2.85)
        axes.axhline(threshold, **LINES["original"])

        # One point an epoch, the first before any
        for curve in curves:
            axes.plot(
                np.arange(len(curve.losses)),
                curve.losses,
                **LINES[curve.kind],
                markersize=4,
                clip_on=False,
                marker=SHAPES[curve.kind]["marker"],
                zorder=2 + _ORDER.index(curve.kind),
            )

        axes.set(title=heading, xlabel="epochs of relearning", ylabel="mean loss of the patients")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
        axes.grid(axis="y", color=RULE, linewidth=0.7)
        return to_svg(figure, name, heading, _relearn_words(curves, threshold))


def _relearn_words(curves: Sequence[Relearned], threshold: float) -> str:
    parts = [f"The original's loss is {threshold:.3g}."]
    for curve in curves:
        parts.append(
            f"{curve.kind}: {curve.losses[0]:.3g} before, {curve.losses[-1]:.3g} after "
            f"{len(curve.losses) - 1} epochs."
        )
    return " ".join(parts)
