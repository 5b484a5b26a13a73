"""Findings, several labels a sample, each present, absent or unknown: their training half."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.labels import known, known_cells
from forgetmi.core.task import Objective, Rule
from forgetmi.model.finding_losses import (
    bernoulli_divergence,
    binary_cross_entropies,
    divergence_without_truth,
    mean_odds,
    mean_of_known,
    mean_of_labelled,
)
from forgetmi.model.head_objectives import separate_logistic
from forgetmi.model.head_space import HeadSpace, finding_space
from forgetmi.model.losses import ranking_loss


@dataclass(frozen=True)
class Findings:
    """Several findings a sample, a logit each; see `forgetmi.core.task.Task` for what each function is.

    A sample's values are means over its known findings; what is unknown takes no part.

    Examples:
        >>> import torch
        >>> nobody_looked = float("nan")
        >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, nobody_looked]])
        >>> Findings().margin(one, other).tolist()
        [1.0]
    """

    name: ClassVar[str] = "findings"
    ordered: ClassVar[bool] = True
    headed: ClassVar[bool] = True

    def outputs(self, names: int) -> int:
        """One for each finding, of which there is at least one."""
        if names < 1:
            raise SpecError(Fault("a model needs at least 1 finding", why="the cohort names none"))
        return names

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Binary cross-entropy, the mean over a sample's known findings."""
        return binary_cross_entropies(logits, label)

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean over the samples with a known finding."""
        return mean_of_labelled(binary_cross_entropies(logits, label), label)

    def error(self, logits: Tensor, label: Tensor) -> Tensor:
        """Share of a sample's known findings that are predicted wrongly."""
        wrong = ((logits > 0) != (label > 0)).to(logits)
        return mean_of_known(wrong, label)

    def auc(self, logits: Tensor, label: Tensor) -> float | None:
        """Mean AUC over the findings that some samples have and others have not; None where there is none."""
        aucs = []
        for finding in range(label.shape[1]):
            there = known_cells(label[:, finding])
            truth = label[there, finding].numpy()
            if len(np.unique(truth)) == 2:
                aucs.append(roc_auc_score(truth, logits[there, finding].double().numpy()))
        return float(np.mean(aucs)) if aucs else None

    def groups(self, label: Tensor) -> Tensor:
        """How many findings a sample is known to have."""
        present = (label > 0).sum(dim=1)
        return present.where(known(label), -1)

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """In how many findings, known in both, two samples differ, at least 1/2."""
        both = known_cells(label) & known_cells(other)
        apart = ((label > 0) != (other > 0)) & both
        return apart.sum(dim=1).float().clamp(min=0.5)

    def link(self, one: Tensor, other: Tensor, label: Tensor, study: Tensor) -> Tensor:
        """The ranking loss, with this task's margins."""
        return ranking_loss(one, other, label, study, task=self)

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Divergence of each finding's prediction, the mean over the findings."""
        return bernoulli_divergence(student, teacher, temperature=temperature)

    def distance_without_truth(
        self, student: Tensor, teacher: Tensor, label: Tensor, *, truth: float
    ) -> Tensor:
        """Divergence from predictions that give each known finding's true state the probability."""
        return divergence_without_truth(student, label, truth=truth)

    def prediction(self, logits: Tensor) -> Tensor:
        """Probability of each finding."""
        return logits.sigmoid()

    def mean_prediction(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits of the mean probability of each finding."""
        return mean_odds(logits)

    def other(
        self, label: Any, classes: int, *, rule: Rule, generator: np.random.Generator
    ) -> list[float]:
        """A label that differs in every known finding (other), in one (neighbour), or in each with even odds (any).

        Of several samples that share a generator's state the same findings change, as far as they are known.
        """
        # Each rule takes its draws whatever is known, so that the generator ends in the same state.
        order = generator.permutation(classes).tolist()
        coins = generator.integers(2, size=classes).tolist()

        there = [finding for finding in order if not math.isnan(label[finding])]
        match rule:
            case "other":
                changed = there
            case "neighbour":
                changed = there[:1]
            case "any":
                changed = [finding for finding in there if coins[finding]]

        drawn = list(label)
        for finding in changed:
            drawn[finding] = 1.0 - drawn[finding]
        return drawn

    def space(self, head: nn.Linear) -> HeadSpace:
        """The logits themselves: a unit of two cells for each finding."""
        return finding_space(head)

    def convex(self, features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
        """A logistic regression for each finding, over the samples in which it is known."""
        return separate_logistic(features, label, noise=noise, ridge=ridge)


FINDINGS = Findings()
