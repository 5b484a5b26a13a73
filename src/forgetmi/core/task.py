"""What belongs to the labels and to nothing else: a task, in two halves under one name.

The half that trains holds tensors (`forgetmi.model.tasks`); the half that measures holds arrays
(`forgetmi.evaluation.tasks`), because an evaluation and an audit must run, and be checked by others, without torch, and
because a method must not see how it is measured. Both are registered under the task's name, in the entry-point groups
``forgetmi.tasks`` and ``forgetmi.task_measures``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.suggest import did_you_mean

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

# Names of the tasks: what a cohort's labels are
TaskName = Literal["grades", "classes", "binary", "findings", "value", "pairs"]

# How a wrong label is drawn: each other one, one next to the true one, or any at all
Rule = Literal["other", "neighbour", "any"]


class Space(Protocol):
    """Between embeddings and the coordinates in which a head reads them."""

    def coordinates(self, embedding: Tensor) -> Floats: ...

    def embedding(self, near: Tensor, coordinates: Floats) -> Tensor: ...


class Task(Protocol):
    """What training and unlearning ask of the labels. Logits are Float[b, k], labels Int64[b], -1 = unknown."""

    # As it is registered, and whether labels have neighbours
    name: ClassVar[str]
    ordered: ClassVar[bool]

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Float[b], the loss of each sample; 0 where the label is unknown."""
        ...

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Scalar, the mean of `loss` over the samples of known label; 0 where there is none."""
        ...

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """Float[b], by how much a sample's own pair must be ranked above that with another sample."""
        ...

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Scalar, >= 0: how far a student's logits are from a teacher's, without gradient; mean over the batch."""
        ...

    def other(self, label: int, classes: int, *, rule: Rule, generator: np.random.Generator) -> int:
        """A label drawn by a rule; an unknown one stays, and takes a draw, too."""
        ...

    def space(self, head: nn.Linear) -> Space:
        """The space of a head's logits, in which outputs of labels can be transported."""
        ...


class TaskMeasures(Protocol):
    """What evaluation, attacks and audit ask of the labels. Logits are Float[n, k], labels Int[n], none unknown."""

    # As it is registered
    name: ClassVar[str]

    def log_probabilities(self, logits: Floats) -> Floats:
        """Float[n, k], of finite logits."""
        ...

    def signal(self, log_probability: Floats, label: Ints) -> Floats:
        """Float[n], larger = more like a training sample."""
        ...

    def loss(self, log_probability: Floats, label: Ints) -> Floats:
        """Float[n], in nats."""
        ...

    def distance(self, log_p: Floats, log_q: Floats) -> Floats:
        """Float[n], how far two models' predictions are apart, 0 = the same."""
        ...

    def scores(self) -> tuple[str, ...]:
        """Names of the metrics of predictions (`forgetmi.evaluation.metrics`), in the order of the result."""
        ...

    def groups(self, label: Ints) -> Ints:
        """Int[n], within which of two sets' samples are compared: labels that are alike share a number, -1 = none."""
        ...


def of_name(name: str, halves: Mapping[str, T]) -> T:
    """One half of a task, by the task's name.

    Raises:
        SpecError: There is no such task; the nearest is named.
    """
    if name not in halves:
        do = did_you_mean(name, halves, then=f"One of: {', '.join(halves)}.")
        raise SpecError(Fault(f"there is no task {quoted(name)}", do=do))
    return halves[name]
