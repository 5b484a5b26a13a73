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
    """A function that gives the forgotten samples of a batch their drawn label; the others keep theirs.

    Args:
        forget: The forgotten; no sample is read.
        classes: Number of classes, >= 2.
        rule: See `random_label`.
        unit: What shares a draw.
        seed: Root seed.
        draw: Number of the draw, from 0.
    """
    # Which samples are forgotten, and of whom.
    patients = forget.patients(forget.rows).tolist()
    patient_of_row = dict(zip(forget.rows.tolist(), patients, strict=True))

    def drawn(row: int, study: int, label: int) -> int:
        if row not in patient_of_row:
            return label

        # All images of a unit share one generator.
        code = patient_of_row[row] if unit == "patient" else study
        generator = numpy_generator(seed, "unlearn", "labels", draw, unit, code)
        return random_label(label, classes, rule=rule, generator=generator)

    def relabel(batch: Batch) -> Batch:
        samples = zip(batch.row.tolist(), batch.study.tolist(), batch.label.tolist(), strict=True)
        labels = [drawn(row, study, label) for row, study, label in samples]
        return replace(batch, label=torch.tensor(labels, device=batch.label.device))

    return relabel


def random_label(label: int, classes: int, *, rule: Rule, generator: np.random.Generator) -> int:
    """A label drawn by a rule, each allowed class with the same probability; -1 (unknown) stays.

    One generator state gives one shift, whatever the label: labels of a unit that shares a generator are shifted alike.

    Args:
        label: -1 to classes - 1.
        classes: Number of classes, >= 2.
        rule: other = not the label itself; neighbour = label - 1 or label + 1; any = each class.
        generator: Where the draw comes from.

    Examples:
        >>> random_label(0, 2, rule="other", generator=np.random.default_rng(0))
        1
        >>> random_label(-1, 2, rule="other", generator=np.random.default_rng(0))
        -1
    """
    match rule:
        case "other":
            drawn = (label + 1 + int(generator.integers(classes - 1))) % classes
        case "any":
            drawn = (label + int(generator.integers(classes))) % classes
        case "neighbour":
            step = 1 - 2 * int(generator.integers(2))
            drawn = label + step if 0 <= label + step < classes else label - step
    # An unknown label takes a draw, too, so that the generator ends in the same state.
    return label if label < 0 else drawn
