"""The figure of the Forget-MI paper, drawn anew: four losses over two encoders, in the words of the glossary."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from forgetmi.report.svg import (
    BAND,
    INK,
    MUTED,
    ORIGINAL,
    RETRAIN,
    STYLE,
    UNLEARNED,
    panel,
    to_svg,
)

TITLE = "The four losses of Forget-MI"

# Across: input, encoder, embedding of the student; then of the teacher, mirrored
STUDENT, TEACHER = (0.0, 1.55, 3.1), (8.9, 7.35, 5.8)
MIDDLE = (STUDENT[2] + TEACHER[2]) / 2
WIDTH, HEIGHT = 1.16, 0.46

# Upwards within a set: image, text, joint
LANES = (1.5, 0.8, 0.0)
ENCODERS = ("image encoder", "text encoder", "gate")
EMBEDDINGS = ("image", "text", "joint")

# A set, its height, what the teacher is given, and its two losses with what they bring about
SETS = (
    ("forget set", 3.3, "its noisy copy", ("UU", "MU"), UNLEARNED, "pulled to the noisy copy"),
    ("retain set", 0.0, "the same", ("UR", "MR"), RETRAIN, "kept where it is"),
)
WORDS = (
    "The student is the model that is unlearned, the teacher the original, frozen. Both have an image encoder, a text "
    "encoder and a gate. Forget set: UU is the distance of the student's image and text embeddings from those that the "
    "teacher has of a noisy copy, MU that of the joint embeddings. Retain set: UR and MR are the same distances from "
    "what the teacher has of the same sample. The sum of the four, weighed, is made small."
)


def four_losses() -> str:
    """Student and teacher with their embeddings, and between them the four losses."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(9.6, 5.4)
        axes.text(1.55, 5.65, "student: unlearned model", ha="center", color=INK, weight="bold")
        axes.text(7.35, 5.65, "teacher: original, frozen", ha="center", color=INK, weight="bold")
        for name, base, given, losses, colour, effect in SETS:
            _draw_set(axes, name, base, given=given, losses=losses, colour=colour, effect=effect)

        axes.set(xlim=(-0.75, 9.65), ylim=(-0.75, 5.9))
        axes.axis("off")
        return to_svg(figure, "losses", TITLE, WORDS)


def _draw_set(
    axes: Axes,
    name: str,
    base: float,
    *,
    given: str,
    losses: tuple[str, str],
    colour: str,
    effect: str,
) -> None:
    """One set: both models on its samples, and the two losses between their embeddings."""
    ground = Rectangle((-0.72, base - 0.68), 10.34, 2.85, facecolor=BAND, alpha=0.28, linewidth=0)
    axes.add_patch(ground)
    axes.text(-0.6, base - 0.5, name, color=INK, weight="bold")
    axes.text(8.9, base - 0.05, given, ha="center", color=MUTED)
    axes.text(0.0, base - 0.05, "a sample", ha="center", color=MUTED)

    _draw_model(axes, STUDENT, base, colour=UNLEARNED)
    _draw_model(axes, TEACHER, base, colour=ORIGINAL)

    # One loss for both embeddings of single modalities, one for the joint one
    unimodal, multimodal = losses
    alone, joint = base + (LANES[0] + LANES[1]) / 2, base + LANES[2]
    left, right = STUDENT[2] + WIDTH / 2, TEACHER[2] - WIDTH / 2
    for height in (LANES[0], LANES[1]):
        for x, towards in ((left, 0.28), (right, -0.28)):
            axes.plot([x, x + towards], [base + height, alone], color=colour, linewidth=1.4)
    _draw_loss(axes, unimodal, alone, left + 0.28, right - 0.28, colour=colour)
    _draw_loss(axes, multimodal, joint, left, right, colour=colour)
    axes.text(MIDDLE, base - 0.5, effect, ha="center", color=MUTED, fontsize=9.5)


def _draw_loss(axes: Axes, name: str, y: float, left: float, right: float, *, colour: str) -> None:
    """A distance between two embeddings, with its name."""
    axes.plot([left, right], [y, y], color=colour, linewidth=1.4)
    badge = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": colour}
    axes.text(MIDDLE, y, name, ha="center", va="center", color="white", weight="bold", bbox=badge)


def _draw_model(
    axes: Axes, columns: tuple[float, float, float], base: float, *, colour: str
) -> None:
    """Inputs, encoders and embeddings of one model, from its outer end to the middle."""
    inputs, encoders, embeddings = columns
    side = 1 if embeddings > inputs else -1
    half = side * WIDTH / 2

    for lane, encoder, embedding in zip(LANES, ENCODERS, EMBEDDINGS, strict=True):
        y = base + lane
        _draw_box(axes, encoders, y, encoder, colour=colour)
        _draw_box(axes, embeddings, y, f"{embedding}\nembedding", colour=colour, filled=True)
        _draw_arrow(axes, (encoders + half, y), (embeddings - half, y))

    # Image and report go to their encoders, both embeddings to the gate
    for lane, words in zip(LANES, ("image", "report"), strict=False):
        _draw_box(axes, inputs, base + lane, words, colour=MUTED)
        _draw_arrow(axes, (inputs + half, base + lane), (encoders - half, base + lane))
    start = embeddings - side * 0.3
    corner = base + (LANES[1] + LANES[2]) / 2
    between = [base + LANES[0] - HEIGHT / 2, base + LANES[1] + HEIGHT / 2]
    axes.plot([start, start], between, color=MUTED, linewidth=1)
    axes.plot([start, start], [base + LANES[1] - HEIGHT / 2, corner], color=MUTED, linewidth=1)
    axes.plot([start, encoders], [corner, corner], color=MUTED, linewidth=1)
    _draw_arrow(axes, (encoders, corner), (encoders, base + LANES[2] + HEIGHT / 2))


def _draw_box(
    axes: Axes, x: float, y: float, words: str, *, colour: str, filled: bool = False
) -> None:
    """A box with a frame of the model's colour; an embedding is round."""
    shape = "round,pad=0,rounding_size=0.2" if filled else "square,pad=0"
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle=shape,
            facecolor="white",
            edgecolor=colour,
            linewidth=1.4,
        )
    )
    axes.text(x, y, words, ha="center", va="center", color=INK, fontsize=8.5, linespacing=0.95)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "->", "color": MUTED, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow)
