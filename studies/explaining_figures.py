"""The figures that explain: the verdict's four cases, what a run does from model to verdict, the four losses.

python studies/explaining_figures.py [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from forgetmi.core.files import write_text
from forgetmi.report.picture import side_by_side
from forgetmi.report.svg import BAND, INK, MUTED, STYLE, UNLEARNED, panel, to_svg
from losses_figure import four_losses

MARGIN = 0.10
# Verdict, Delta with its interval, and what it means
CASES = (
    ("FORGOTTEN", 0.01, (-0.06, 0.08), "within the margin"),
    ("NOT FORGOTTEN", 0.19, (0.10, 0.28), "still recognised"),
    ("OVER-FORGOTTEN", -0.17, (-0.26, -0.08), "conspicuously strange"),
    ("NOT RESOLVABLE", 0.05, (-0.11, 0.21), "too few to tell"),
)
# What a run does: a box each, with what stands below it
STEPS = (
    ("original", "trained on all"),
    ("retrained", "without them, 3 times"),
    ("unlearned", "from the original"),
    ("signals", "each model, once"),
    ("audit", "rule fixed before"),
    ("verdict", "report, letter, record"),
)
FRAME = {
    "boxstyle": "round,pad=0.5",
    "facecolor": "white",
    "edgecolor": UNLEARNED,
    "linewidth": 1.5,
}


def verdicts() -> str:
    """Four intervals beside the margin: where each must lie for its verdict."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(7.4, 2.9)
        axes.axvspan(-MARGIN, MARGIN, color=BAND, alpha=0.7, linewidth=0)
        axes.axvline(0, color=MUTED, linewidth=0.9)

        for place, (name, value, interval, words) in enumerate(CASES):
            y = len(CASES) - 1 - place
            axes.plot(interval, [y, y], color=UNLEARNED, linewidth=2)
            axes.plot([value], [y], marker="o", markersize=8, color=UNLEARNED)
            axes.text(-0.62, y, name, va="center", color=INK, fontweight="bold")
            axes.text(0.33, y, words, va="center", color=MUTED)

        axes.set(xlim=(-0.62, 0.66), ylim=(-0.6, 3.6), yticks=[], title="The four verdicts")
        axes.set_xticks([-0.2, -0.1, 0, 0.1, 0.2])
        axes.set_xlabel("more familiar than to retrained models, in AUC; the band is the margin")
        axes.spines["left"].set_visible(False)
        described = []
        for name, value, (low, high), words in CASES:
            described.append(f"{name}: {value:+.2f}, {low:+.2f} to {high:+.2f}, {words}")
        return to_svg(figure, "verdicts", "The four verdicts", "; ".join(described))


def pipeline() -> str:
    """What a run does, from the model in service to the verdict."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(9.6, 1.5)
        for place, (name, words) in enumerate(STEPS):
            _box(axes, place, name, words)
        axes.set(xlim=(-0.55, len(STEPS) - 0.45), ylim=(-0.75, 0.6))
        axes.axis("off")
        steps = "; ".join(f"{name}: {words}" for name, words in STEPS)
        return to_svg(figure, "pipeline", "What a run does", steps)


def _box(axes: Axes, place: int, name: str, words: str) -> None:
    """One step, and an arrow from the one before."""
    axes.text(
        place,
        0.15,
        name,
        ha="center",
        va="center",
        color=INK,
        fontweight="bold",
        bbox=FRAME,
    )
    axes.text(place, -0.45, words, ha="center", va="center", color=MUTED, fontsize=8.5)
    if place:
        arrow = {"arrowstyle": "->", "color": MUTED}
        axes.annotate("", (place - 0.4, 0.15), (place - 0.6, 0.15), arrowprops=arrow)


def main() -> None:
    """Write all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    figures = {"verdicts.svg": verdicts, "pipeline.svg": pipeline, "four_losses.svg": four_losses}
    for name, draw in figures.items():
        write_text(out / name, side_by_side([draw()], name).svg)


if __name__ == "__main__":
    main()
