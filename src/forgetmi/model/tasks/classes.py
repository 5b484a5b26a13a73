"""Classes, one label a sample: their training half, that of grades, which have an order, and that of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.labels import known
from forgetmi.core.task import Objective, Rule
from forgetmi.model.class_losses import (
    cross_entropies,
    cross_entropy,
    distillation,
    divergence_without_truth,
    mean_probabilities,
)
from forgetmi.model.head_objectives import logistic
from forgetmi.model.head_space import HeadSpace, class_space
from forgetmi.model.losses import ranking_loss
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
    headed: ClassVar[bool] = True

    def outputs(self, names: int) -> int:
        """One for each class, of which there are at least two."""
        if names < 2:
            raise SpecError(Fault("a model needs at least 2 classes", why=f"got {names}"))
        return names

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of each sample."""
        return cross_entropies(logits, label)

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy; summed by torch, since a sum of single losses would round differently."""
        return cross_entropy(logits, label)

    def error(self, logits: Tensor, label: Tensor) -> Tensor:
        """1 where the most probable class is not the label, else 0."""
        return (logits.argmax(dim=1) != label).to(logits)

    def auc(self, logits: Tensor, label: Tensor) -> float | None:
        """Mean one-vs-rest AUC over the classes present; None where fewer than two are."""
        present = [int(k) for k in label.unique()]
        if len(present) < 2:
            return None

        # Each class against all others.
        probabilities = logits.double().softmax(dim=1).numpy()
        aucs = []
        for k in present:
            aucs.append(roc_auc_score(label.numpy() == k, probabilities[:, k]))
        return float(np.mean(aucs))

    def groups(self, label: Tensor) -> Tensor:
        """The classes themselves."""
        return label

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """1/2, whatever the labels."""
        return torch.full_like(label, 0.5, dtype=torch.float32)

    def link(self, one: Tensor, other: Tensor, label: Tensor, study: Tensor) -> Tensor:
        """The ranking loss, with this task's margins."""
        return ranking_loss(one, other, label, study, task=self)

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Divergence of the predictions."""
        return distillation(student, teacher, temperature=temperature)

    def distance_without_truth(
        self, student: Tensor, teacher: Tensor, label: Tensor, *, truth: float
    ) -> Tensor:
        """Divergence from the teacher's predictions, the true class's probability set."""
        return divergence_without_truth(student, teacher, label, truth=truth)

    def prediction(self, logits: Tensor) -> Tensor:
        """Probabilities of the classes."""
        return logits.softmax(dim=1)

    def mean_prediction(self, logits: Sequence[Tensor]) -> Tensor:
        """Logarithms of the mean probabilities."""
        return mean_probabilities(logits)

    def other(self, label: Any, classes: int, *, rule: Rule, generator: np.random.Generator) -> int:
        """Another class."""
        return random_label(label, classes, rule=rule, generator=generator)

    def space(self, head: nn.Linear) -> HeadSpace:
        """The centred logits."""
        return class_space(head)

    def convex(self, features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
        """Multinomial logistic regression."""
        return logistic(features, label, noise=noise, ridge=ridge)


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
        distance = (label - other).abs().float().clamp(min=0.5)
        return torch.where(known(label) & known(other), distance, 0.5)


@dataclass(frozen=True)
class Binary(Classes):
    """Yes or no: two classes, with a logit each, so that whatever holds of classes holds here.

    Examples:
        >>> Binary().outputs(2)
        2
    """

    name: ClassVar[str] = "binary"


CLASSES = Classes()
GRADES = Grades()
BINARY = Binary()
