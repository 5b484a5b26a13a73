"""Which withdrawn patients stand out: one row per patient before the distribution of never-seen patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from forgetmi.core.arrays import Floats
from forgetmi.report.svg import (
    BAND,
    INK,
    MUTED,
    SHADOW,
    SHAPES,
    STYLE,
    UNLEARNED,
    margin_text,
    panel,
    to_svg,
)


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

        # The first patient at the top
        for place, patient in enumerate(patients):
            _draw_patient(axes, patient, count - 1 - place + 0.35)

        margin_text(axes, -0.02, count + 1.2, "never seen", ha="right", fontsize=9, color=MUTED)

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

    margin_text(
        axes, -0.02, y, patient.label, ha="right", fontsize=9, color=INK, family="monospace"
    )
    margin_text(axes, 1.02, y, patient.note, ha="left", fontsize=9, color=MUTED)


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
