"""ROC curves of an attack, over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.report.svg import BAND, LINES, ORDER, RULE, STYLE, panel, to_svg

_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)  # of logarithmic rates


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
        # Logarithmic: what matters is found with few false alarms
        axes.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(lowest, 1.12), title=heading)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")

        # Rates that so few patients cannot show, and chance
        axes.axvspan(left, smallest, color=BAND, alpha=0.7, linewidth=0, zorder=0)
        axes.plot([smallest, 1], [smallest, 1], **LINES["chance"], zorder=1)

        # Steps, not interpolated
        for curve in sorted(curves, key=lambda curve: ORDER.index(curve.kind)):
            false, true = rates(curve)
            axes.step(
                np.maximum(false, left),
                np.maximum(true, lowest / 2),
                where="post",
                **LINES[curve.kind],
                zorder=2 + ORDER.index(curve.kind),
            )

        # Ticks count patients
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
