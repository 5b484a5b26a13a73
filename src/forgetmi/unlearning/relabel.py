"""Wrong labels for the forgotten, drawn by a rule and shared by the images of a study or patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch

from forgetmi.core.batch import Batch
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.task import Rule, Task
from forgetmi.unlearning.loaders import GuardedLoader

Unit = Literal["study", "patient"]
Relabel = Callable[[Batch], Batch]


def relabelling(
    forget: GuardedLoader, classes: int, *, task: Task, rule: Rule, unit: Unit, seed: int, draw: int
) -> Relabel:
    """A function that gives the forgotten samples of a batch their drawn label; the others keep theirs.

    Args:
        forget: The forgotten; no sample is read.
        classes: Outputs of a head: classes, >= 2, or findings.
        task: Draws the labels.
        rule: How; see the task's `other`.
        unit: What shares a draw.
        seed: Root seed.
        draw: Number of the draw, from 0.
    """
    # Which samples are forgotten, and of whom.
    patients = forget.patients(forget.rows).tolist()
    patient_of_row = dict(zip(forget.rows.tolist(), patients, strict=True))

    def drawn(row: int, study: int, label: Any) -> Any:
        if row not in patient_of_row:
            return label

        # All images of a unit share one generator.
        code = patient_of_row[row] if unit == "patient" else study
        generator = numpy_generator(seed, "unlearn", "labels", draw, unit, code)
        return task.other(label, classes, rule=rule, generator=generator)

    def relabel(batch: Batch) -> Batch:
        samples = zip(batch.row.tolist(), batch.study.tolist(), batch.label.tolist(), strict=True)
        labels = [drawn(row, study, label) for row, study, label in samples]
        return replace(batch, label=torch.tensor(labels).to(batch.label))

    return relabel
