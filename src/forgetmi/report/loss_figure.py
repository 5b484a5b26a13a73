"""Loss distributions of withdrawn and never-seen patients under one model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import ticker

from forgetmi.core.arrays import Floats
from forgetmi.report.svg import BAND, MUTED, RULE, SHADOW, STYLE, UNLEARNED, panel, to_svg

LOWEST_LOSS = 1e-6
_BINS = 18


def loss_panel(
    name: str,
    heading: str,
    *,
    withdrawn: Floats,
    never_seen: Floats,
    span: tuple[float, float],
    top: float,
) -> str:
    """Loss distributions of withdrawn and never-seen patients under one model: a panel of the paper's Figure 3.

    Args:
        name: Distinguishes the panels of a page.
        heading: Title of the panel.
        withdrawn, never_seen: Cross-entropy per image, >= 0.
        span: Lowest and highest loss of the axis, shared by the panels that are compared (see `loss_span`).
        top: Largest share on the vertical axis, shared too (see `loss_shares`).
    """
    # A linear axis of logarithms: matplotlib's logarithmic one is much slower
    edges = np.log10(_edges(span))
    of_never_seen = loss_shares(never_seen, span)
    of_withdrawn = loss_shares(withdrawn, span)

    with mpl.rc_context(STYLE):
        figure, axes = panel(4.15, 2.85)

        # Never-seen patients as a filled area, the withdrawn as a line before it
        axes.stairs(of_never_seen, edges, fill=True, color=BAND, zorder=1)
        axes.stairs(of_never_seen, edges, color=SHADOW, linewidth=0.9, zorder=2)
        axes.stairs(of_withdrawn, edges, color=UNLEARNED, linewidth=2.0, zorder=3)

        # Medians
        for values, colour, dashes in ((never_seen, MUTED, (2, 2)), (withdrawn, UNLEARNED, (6, 2))):
            median = np.log10(np.median(np.clip(values, *span)))
            axes.axvline(float(median), color=colour, linewidth=1.3, dashes=dashes, zorder=4)

        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, top * 1.06), title=heading)
        axes.set_xlabel("loss of an image (logarithmic)")
        axes.set_ylabel("share of images")

        # Powers of ten, and percent
        powers = _powers(span)
        axes.set_xticks(powers, [f"{10.0**power:g}" for power in powers])
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y", color=RULE, linewidth=0.7)
        return to_svg(figure, name, heading, _words(withdrawn, never_seen))


def loss_span(losses: Sequence[Floats]) -> tuple[float, float]:
    """A common axis for several distributions: from the 0.5 % to the 99.9 % quantile; the rest goes to its ends."""
    every = np.maximum(np.concatenate(losses), LOWEST_LOSS)
    low, high = float(np.quantile(every, 0.005)), float(np.quantile(every, 0.999))
    return low / 1.3, max(high * 1.3, low * 10)


def loss_shares(values: Floats, span: tuple[float, float]) -> Floats:
    """Share of the images in each of the histogram's bins."""
    counts, _ = np.histogram(np.clip(values, *span), _edges(span))
    return counts / len(values)


def _edges(span: tuple[float, float]) -> Floats:
    return np.geomspace(*span, _BINS + 1)


def _powers(span: tuple[float, float]) -> list[int]:
    """Powers of ten within the axis, at most six."""
    low, high = math.ceil(math.log10(span[0])), math.floor(math.log10(span[1]))
    step = max(1, math.ceil((high - low + 1) / 6))
    return list(range(high, low - 1, -step))


def _words(withdrawn: Floats, never_seen: Floats) -> str:
    return (
        f"Histograms on a logarithmic axis. Median loss of the withdrawn patients' {len(withdrawn)} images "
        f"{np.median(withdrawn):.3g}, of the never-seen patients' {len(never_seen)} images {np.median(never_seen):.3g}."
    )
