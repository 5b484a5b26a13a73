"""Figures of the audit: how an attack fares, who stands out, which subgroup differs, how fast memory comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib import ticker
from matplotlib.transforms import blended_transform_factory

from forgetmi.core.arrays import Floats
from forgetmi.report.score_text import plain
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

_ORDER = ("chance", "retrain", "original", "unlearned")


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
    thresholds = np.unique(np.concatenate([curve.members, curve.never_seen]))[::-1]
    found = [
        np.append((side[:, None] > thresholds).mean(0), 1.0)
        for side in (curve.never_seen, curve.members)
    ]
    return found[0], found[1]


def roc_panel(name: str, heading: str, curves: Sequence[Curve]) -> str:
    """True- against false-positive rates on logarithmic axes (Carlini et al. 2022), over patients.

    Left of the smallest rate that the number of never-seen patients allows, the share found without any false alarm.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        curves: One or more models, on the same patients.
    """
    members, never_seen = len(curves[0].members), len(curves[0].never_seen)
    least, lowest = 1 / never_seen, 0.6 / members
    left = least / 1.9
    with mpl.rc_context(STYLE):
        figure, axes = panel(3.1, 2.9)
        axes.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(lowest, 1.12), title=heading)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")
        axes.axvspan(left, least, color=BAND, alpha=0.7, linewidth=0, zorder=0)
        axes.plot([least, 1], [least, 1], **LINES["chance"], zorder=1)
        for curve in sorted(curves, key=lambda one: _ORDER.index(one.kind)):
            false, true = rates(curve)
            axes.step(
                np.maximum(false, left),
                np.maximum(true, lowest / 2),
                where="post",
                **LINES[curve.kind],
                zorder=2 + _ORDER.index(curve.kind),
            )
        for set_ticks, count in ((axes.set_xticks, never_seen), (axes.set_yticks, members)):
            others = [
                tick
                for tick in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
                if tick > 1.7 / count
            ]
            set_ticks([1 / count, *others], [f"1/{count}", *(f"{tick:g}" for tick in others)])
        axes.minorticks_off()
        axes.grid(color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        return to_svg(
            figure,
            name,
            heading,
            (
                f"{members} withdrawn and {never_seen} never-seen patients; the smallest false-positive rate they allow "
                f"is {least:.3g}. " + " ".join(_found(curve) for curve in curves)
            ),
        )


def _found(curve: Curve) -> str:
    false, true = rates(curve)
    parts = [
        f"{true[false <= rate].max():.2f} {words}"
        for rate, words in ((0.0, "without a false alarm"), (0.1, "at 10 % false alarms"))
    ]
    return f"{curve.kind}: true-positive rate {' and '.join(parts)}."


@dataclass(frozen=True)
class Person:
    """One withdrawn patient.

    Args:
        label: Short digest.
        score: Standardised on never-seen patients, 0 = like one of them.
        mark: "remembered", "over" or "" after correction for the number of patients.
        beside: What stands at the right of the row.
    """

    label: str
    score: float
    mark: str
    beside: str


def strip_panel(name: str, heading: str, people: Sequence[Person], *, never_seen: Floats) -> str:
    """One row per withdrawn patient, the distribution of never-seen patients above and behind.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        people: From top to bottom.
        never_seen: Float[m], their scores.
    """
    low, high = np.quantile(never_seen, [0.025, 0.975])
    edge = 1.08 * max(
        3.0, *(abs(one.score) for one in people), *np.abs(np.quantile(never_seen, [0.005, 0.995]))
    )
    top = len(people) + 3.2
    with mpl.rc_context(STYLE):
        figure, axes = panel(4.75, 0.85 + 0.185 * top)
        axes.axvspan(float(low), float(high), color=BAND, alpha=0.55, linewidth=0, zorder=0)
        counts, edges = np.histogram(np.clip(never_seen, -edge, edge), np.linspace(-edge, edge, 31))
        axes.stairs(
            len(people) + 2.4 * counts / counts.max(),
            edges,
            baseline=len(people),
            fill=True,
            color="#8b96a1",
        )
        axes.axvline(0, color=MUTED, linewidth=0.9)
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        for place, one in enumerate(people):
            y = len(people) - 1 - place + 0.35
            axes.plot([0, one.score], [y, y], color=UNLEARNED, linewidth=0.9, alpha=0.6, zorder=2)
            shape = {**SHAPES[one.mark or "unlearned"], **({} if one.mark else {"markersize": 5})}
            axes.plot([one.score], [y], **shape, linestyle="none", zorder=4, clip_on=False)
            axes.text(
                -0.02,
                y,
                one.label,
                transform=beside,
                ha="right",
                va="center",
                fontsize=9,
                color=INK,
                family="monospace",
            )
            axes.text(
                1.02,
                y,
                one.beside,
                transform=beside,
                ha="left",
                va="center",
                fontsize=9,
                color=MUTED,
            )
        axes.text(
            -0.02,
            len(people) + 1.2,
            "never seen",
            transform=beside,
            ha="right",
            va="center",
            fontsize=9,
            color=MUTED,
        )
        axes.set(xlim=(-edge, edge), ylim=(-0.4, top), yticks=[], title=heading)
        axes.set_xlabel("← more of a stranger  |  more remembered →")
        axes.spines["left"].set_visible(False)
        return to_svg(
            figure,
            name,
            heading,
            (
                f"{len(never_seen)} never-seen patients, 95 % of them between {low:.2f} and {high:.2f}. "
                + "; ".join(
                    f"{one.label} {one.score:.2f}{', stands out' if one.mark else ''}"
                    for one in people
                )
                + "."
            ),
        )


@dataclass(frozen=True)
class ForestRow:
    """One subgroup, or the heading of some (`value` None and no `note`)."""

    label: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    note: str = ""


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
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        for place, row in enumerate(rows):
            y = len(rows) - 1 - place
            if row.value is None:
                axes.text(
                    0.0 if not row.note else 1.0,
                    y,
                    row.note or row.label,
                    transform=beside,
                    va="center",
                    ha="left" if not row.note else "right",
                    fontsize=9.5,
                    color=MUTED if row.note else INK,
                    fontweight="normal" if row.note else "bold",
                )
            else:
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
                axes.text(
                    1.02,
                    y,
                    plain(row.value),
                    transform=beside,
                    va="center",
                    fontsize=9.5,
                    color=MUTED,
                )
            if row.value is not None or row.note:
                axes.text(
                    -0.02,
                    y,
                    row.label,
                    transform=beside,
                    va="center",
                    ha="right",
                    fontsize=9.5,
                    color=INK,
                )
        axes.set(xlim=span, ylim=(-0.6, len(rows) - 0.4), yticks=[], title=heading)
        axes.set_xlabel(axis)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
        return to_svg(
            figure,
            name,
            heading,
            " ".join(_forest_words(row) for row in rows if row.note or row.value is not None),
        )


def _forest_words(row: ForestRow) -> str:
    if row.value is None:
        return f"{row.label}: {row.note}."
    interval = f" ({row.interval[0]:.2f} to {row.interval[1]:.2f})" if row.interval else ""
    return f"{row.label}: {row.value:.2f}{interval}."


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
        return to_svg(
            figure,
            name,
            heading,
            f"The original's loss is {threshold:.3g}. "
            + " ".join(
                f"{curve.kind}: {curve.losses[0]:.3g} before, {curve.losses[-1]:.3g} after "
                f"{len(curve.losses) - 1} epochs."
                for curve in curves
            ),
        )
