"""A value, one number a sample, such as an age or a length of stay: its training half."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import known
from forgetmi.core.task import Objective, Rule
from forgetmi.model.head_objectives import least_squares
from forgetmi.model.head_space import HeadSpace
from forgetmi.model.losses import ranking_loss


@dataclass(frozen=True)
class Value:
    """A number a sample, in standard deviations of the training rows; see `forgetmi.core.task.Task`.

    A prediction is one logit, the mean of a normal distribution with standard deviation 1 about it.

    Examples:
        >>> Value().loss(torch.tensor([[0.5], [3.0]]), torch.tensor([1.5, float("nan")])).tolist()
        [1.0, 0.0]
    """

    name: ClassVar[str] = "value"
    ordered: ClassVar[bool] = True
    headed: ClassVar[bool] = True

    def outputs(self, names: int) -> int:
        """One."""
        return 1

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Squared error of each sample."""
        # NaN must reach no operation that has a gradient.
        there = known(label)
        wanted = label.where(there, 0.0).to(logits)
        return (logits[:, 0] - wanted).square().where(there, 0.0)

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean squared error over the samples of known value."""
        return self.loss(logits, label).sum() / known(label).sum().clamp(min=1)

    def error(self, logits: Tensor, label: Tensor) -> Tensor:
        """Absolute error."""
        return self.loss(logits, label).sqrt()

    def auc(self, logits: Tensor, label: Tensor) -> float | None:
        """Share of pairs of samples that are predicted in the right order, (1 + Kendall's tau) / 2."""
        found: Any = kendalltau(logits[:, 0].double().numpy(), label.double().numpy())
        tau = float(found.statistic)
        return None if math.isnan(tau) else (1 + tau) / 2

    def groups(self, label: Tensor) -> Tensor:
        """Values by whole standard deviations: below -1, to 0, to 1, above."""
        there = known(label)
        step = label.where(there, 0.0).floor().clamp(min=-2, max=1)
        return (step.long() + 2).where(there, -1)

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """By how many standard deviations two samples differ, at least 1/2; 1/2 where one is unknown."""
        distance = (label - other).abs().float().clamp(min=0.5)
        return torch.where(known(label) & known(other), distance, 0.5)

    def link(self, one: Tensor, other: Tensor, label: Tensor, study: Tensor) -> Tensor:
        """The ranking loss, with this task's margins."""
        return ranking_loss(one, other, label, study, task=self)

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """``KL(N(teacher, 1) || N(student, 1))``, half the squared difference; a temperature changes nothing.

        Divided by T, two predictions have a T^2 times smaller divergence, which the factor T^2 makes up for.
        """
        return (student - teacher.detach()).square().sum(dim=1).mean() / 2

    def distance_without_truth(
        self, student: Tensor, teacher: Tensor, label: Tensor, *, truth: float
    ) -> Tensor:
        """There is none: a number has no other states whose ratios could be kept."""
        raise _not_of_values("without the true answer there is no prediction of a number")

    def prediction(self, logits: Tensor) -> Tensor:
        """The value, in standard deviations of the training rows about their mean."""
        return logits

    def mean_prediction(self, logits: Sequence[Tensor]) -> Tensor:
        """The mean."""
        return torch.stack(list(logits)).mean(dim=0)

    def other(
        self, label: Any, classes: int, *, rule: Rule, generator: np.random.Generator
    ) -> float:
        """A value of the training rows' normal distribution (other, any), or one standard deviation away (neighbour).

        Of several samples that share a generator's state, all get the same value or go the same way.
        """
        match rule:
            case "neighbour":
                drawn = label + 1.0 - 2.0 * int(generator.integers(2))
            case "other" | "any":
                drawn = float(generator.standard_normal())
        return label if math.isnan(label) else drawn

    def space(self, head: nn.Linear) -> HeadSpace:
        """There is none: a number has no cells in which outputs could be compared."""
        raise _not_of_values("outputs are transported class by class, and a number has no classes")

    def convex(self, features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
        """Ridge regression."""
        return least_squares(features, label, noise=noise, ridge=ridge)


def _not_of_values(why: str) -> MethodError:
    return MethodError(Fault("this method does not apply to labels that are a value", why=why))


VALUE = Value()
