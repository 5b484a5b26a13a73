"""How fast withdrawn patients are learnt again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib import ticker

from forgetmi.core.arrays import Floats
from forgetmi.report.svg import LINES, ORDER, RULE, SHAPES, STYLE, panel, to_svg


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
        # What the curves come back to
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
                zorder=2 + ORDER.index(curve.kind),
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
