"""Wrong labels for the forgotten, drawn by a rule and shared by the images of a study or patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from forgetmi.core.batch import Batch
from forgetmi.core.seeding import numpy_generator
from forgetmi.unlearning.loaders import GuardedLoader

Rule = Literal["other", "neighbour", "any"]
Unit = Literal["study", "patient"]
Relabel = Callable[[Batch], Batch]


def relabelling(
    forget: GuardedLoader, classes: int, *, rule: Rule, unit: Unit, seed: int, draw: int
) -> Relabel:
    """What gives the forgotten samples of a batch their drawn label and leaves the others theirs.

    Args:
        forget: The forgotten; no sample is read.
        classes: Number of classes, >= 2.
        rule: See `random_label`.
        unit: What shares a draw.
        seed: Root seed.
        draw: Number of the draw, from 0.
    """
    patient = dict(zip(forget.rows.tolist(), forget.patients(forget.rows).tolist(), strict=True))

    def drawn(row: int, study: int, label: int) -> int:
        if row not in patient:
            return label
        generator = numpy_generator(
            seed, "unlearn", "labels", draw, unit, patient[row] if unit == "patient" else study
        )
        return random_label(label, classes, rule=rule, generator=generator)

    def relabel(batch: Batch) -> Batch:
        values = zip(batch.row.tolist(), batch.study.tolist(), batch.label.tolist(), strict=True)
        return replace(
            batch, label=torch.tensor([drawn(*each) for each in values], device=batch.label.device)
        )

    return relabel


def random_label(label: int, classes: int, *, rule: Rule, generator: np.random.Generator) -> int:
    """A label drawn by a rule, each allowed class alike; -1 (unknown) stays.

    One generator state gives one shift, whatever the label: labels of a unit that shares a generator move alike.

    Args:
        label: -1 to classes - 1.
        classes: Number of classes, >= 2.
        rule: other = not the label itself; neighbour = label - 1 or label + 1; any = each class.
        generator: Where the draw comes from.
    """
    match rule:
        case "other":
            drawn = (label + 1 + int(generator.integers(classes - 1))) % classes
        case "any":
            drawn = (label + int(generator.integers(classes))) % classes
        case "neighbour":
            step = 1 - 2 * int(generator.integers(2))
            drawn = label + step if 0 <= label + step < classes else label - step
    return label if label < 0 else drawn
