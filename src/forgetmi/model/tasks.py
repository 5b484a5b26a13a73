"""The training halves of today's tasks: classes, one label a sample, and grades, classes that have an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.task import Rule, Task, of_name
from forgetmi.model.class_losses import cross_entropies, cross_entropy, distillation
from forgetmi.model.head_space import HeadSpace
from forgetmi.model.random_label import random_label


@dataclass(frozen=True)
class Classes:
    """One of k classes a sample; see `forgetmi.core.task.Task` for what each function is.

    Examples:
        >>> Classes().margin(torch.tensor([0, 3]), torch.tensor([3, -1])).tolist()
        [0.5, 0.5]
    """

    name: ClassVar[str] = "classes"
    ordered: ClassVar[bool] = False

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of each sample."""
        return cross_entropies(logits, label)

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy; summed by torch, since a sum of single losses would round differently."""
        return cross_entropy(logits, label)

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """1/2, whatever the labels."""
        return torch.full_like(label, 0.5, dtype=torch.float32)

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Divergence of the predictions."""
        return distillation(student, teacher, temperature=temperature)

    def other(self, label: int, classes: int, *, rule: Rule, generator: np.random.Generator) -> int:
        """Another class."""
        return random_label(label, classes, rule=rule, generator=generator)

    def space(self, head: nn.Linear) -> HeadSpace:
        """The centred logits."""
        return HeadSpace(head)


@dataclass(frozen=True)
class Grades(Classes):
    """One of k grades a sample, 0 to k - 1: classes whose order tells how far two samples are apart.

    Examples:
        >>> Grades().margin(torch.tensor([0, 1, 3]), torch.tensor([3, 1, -1])).tolist()
        [3.0, 0.5, 0.5]
    """

    name: ClassVar[str] = "grades"
    ordered: ClassVar[bool] = True

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """By how many grades two samples differ, at least 1/2; 1/2 where one is unknown."""
        known = (label >= 0) & (other >= 0)
        distance = (label - other).abs().float().clamp(min=0.5)
        return torch.where(known, distance, 0.5)


CLASSES = Classes()
GRADES = Grades()

_BY_NAME: dict[str, Task] = {task.name: task for task in (CLASSES, GRADES)}


def training_task(task: str) -> Task:
    """What training and unlearning ask of a cohort's labels, by the task's name.

    Raises:
        SpecError: There is no such task.
    """
    return of_name(task, _BY_NAME)
