"""What L-CODEC, DeltaGrad and an exact Newton step would have to store, for the two models of this package.

    python studies/certified_cost.py [--into docs/certified.md]

Parameters and activations are counted on the models themselves, without weights in memory; the rest is arithmetic.
Prints a Markdown table, or writes it between the two marks of a page.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import ModelSpec, compact, paper
from pages import put

BYTES = 4
PERTURBATIONS = 50
ROWS = 10


@dataclass(frozen=True)
class Setting:
    """One model and one cohort.

    Args:
        name: Heading of the column.
        spec: Architecture.
        tokens: Length of a report.
        images: Training images.
        forgotten: Forgotten images.
    """

    name: str
    spec: ModelSpec
    tokens: int
    images: int
    forgotten: int


SETTINGS = (
    Setting("compact model, 720 images", compact(4, 1000, positions=320), 100, 720, 72),
    Setting("paper's model, 6,742 images", paper(4, 31_090), 320, 6742, 201),
)


def empty(spec: ModelSpec) -> ImageText:
    """The model's shapes alone."""
    with torch.device("meta"):
        return ImageText(spec).eval()


def activations(model: ImageText, tokens: int) -> int:
    """Outputs of all convolutions and linear layers for one sample, which L-CODEC tests one by one."""
    image, text = model.spec.image, model.spec.text
    total = 0

    def count(module: nn.Module, given: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel()

    for module in model.img_model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.img_model(torch.empty(1, 1, image.size, image.size, device="meta"))
    per_token = (
        5 * text.hidden + text.intermediate
    )  # query, key, value, attention output, two feed-forward layers
    last = (
        tokens * 2 * text.hidden + per_token - 2 * text.hidden
    )  # of the last layer, [CLS] needs all keys and values
    return total + (text.layers - 1) * tokens * per_token + last + text.hidden + model.spec.classes


def readable(size: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def figures(setting: Setting) -> dict[str, str]:
    """What one setting needs, by row of the table."""
    recipe, model = Recipe(), empty(setting.spec)
    count = sum(parameter.numel() for parameter in model.parameters())
    steps = recipe.epochs * -(-setting.images // recipe.batch_size)
    watched = activations(model, setting.tokens)
    widest = ROWS * (setting.spec.text.intermediate + 1)
    head = setting.spec.classes * (setting.spec.image.features + 1)
    return {
        "Parameters P": f"{count:,}",
        f"Steps T ({recipe.epochs} epochs, batches of {recipe.batch_size})": f"{steps:,}",
        "DeltaGrad: weights and gradients of every step, 2 T P x 4 B": readable(
            2 * steps * count * BYTES
        ),
        "L-CODEC: weights and gradients of the last two epochs, 4 P x 4 B": readable(
            4 * count * BYTES
        ),
        "L-CODEC: activations A of one sample": f"{watched:,}",
        f"L-CODEC: {PERTURBATIONS} perturbed copies of a sample, {PERTURBATIONS} A x 4 B": readable(
            PERTURBATIONS * watched * BYTES
        ),
        f"L-CODEC: forward passes, one after another, {PERTURBATIONS} a forgotten image": (
            f"{PERTURBATIONS * setting.forgotten:,}"
        ),
        f"L-CODEC: Hessian of {ROWS} selected feed-forward rows (q = {ROWS} x fan-in), q^2 x 4 B": readable(
            widest**2 * BYTES
        ),
        "Full Newton step: Hessian of all weights, P^2 x 4 B": readable(count**2 * BYTES),
        "Newton step on one head: Hessian of (k (d + 1))^2 x 8 B": readable(head**2 * 2 * BYTES),
    }


def table() -> str:
    """The figures of all settings as Markdown."""
    columns = [figures(setting) for setting in SETTINGS]
    rows = [
        f"| | {' | '.join(setting.name for setting in SETTINGS)} |",
        "|---|" + "---:|" * len(SETTINGS),
    ]
    return "\n".join(
        rows
        + [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
    )


def main() -> None:
    """Print the table, or put it into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--into", type=Path, help="page to write the table into, between its two marks"
    )
    put(parser.parse_args().into, {"figures": table()})


if __name__ == "__main__":
    main()
