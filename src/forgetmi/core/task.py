"""What belongs to the labels and to nothing else: a task, in two halves under one name.

The half that trains holds tensors (`forgetmi.model.tasks`); the half that measures holds arrays
(`forgetmi.evaluation.tasks`), because an evaluation and an audit must run, and be checked by others, without torch, and
because a method must not see how it is measured. Both are registered under the task's name, in the entry-point groups
``forgetmi.tasks`` and ``forgetmi.task_measures``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Labels
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.registry import Registry
from forgetmi.core.suggest import did_you_mean

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

# Names of the tasks: what a cohort's labels are
TaskName = Literal["grades", "classes", "binary", "findings", "value", "pairs"]

# How a wrong label is drawn: each other one, one next to the true one, or any at all
Rule = Literal["other", "neighbour", "any"]

# A convex function of a head's weights, from them to its gradient and Hessian
Objective = Callable[["Tensor"], "tuple[Tensor, Tensor]"]


class Cells(Protocol):
    """One unit of the labels: what is labelled at once, and the coordinates of a head that depend on it.

    Of classes there is one unit with a cell for each class; of findings each is a unit with two cells, absent and
    present.
    """

    @property
    def columns(self) -> slice:
        """Which coordinates of the space."""
        ...

    @property
    def along(self) -> Floats:
        """Float[cells, columns], the direction in coordinates in which each cell's own logit grows."""
        ...


class Space(Protocol):
    """Between embeddings and the coordinates in which a head reads them."""

    @property
    def units(self) -> tuple[Cells, ...]:
        """What the coordinates depend on; the units' columns are apart."""
        ...

    def cells(self, label: Any) -> Ints:
        """Int[n, units], the cell of each label in each unit, -1 = unknown."""
        ...

    def coordinates(self, embedding: Tensor) -> Floats: ...

    def of_logits(self, logits: Floats) -> Floats:
        """Coordinates of logits, whatever model they are of."""
        ...

    def embedding(self, near: Tensor, coordinates: Floats) -> Tensor: ...


class Task(Protocol):
    """What training and unlearning ask of the labels.

    Logits are Float[b, k]. Labels are Int64[b], -1 = unknown (grades, classes, binary; pairs, where they say nothing),
    Float[b], NaN = unknown (value, in standard deviations about the mean of the training rows, see
    `forgetmi.core.labels.Scale`), or Float[b, f] of 0, 1 and NaN = unknown (findings).
    """

    # As it is registered; whether labels have neighbours; whether heads predict them (else embeddings do)
    name: ClassVar[str]
    ordered: ClassVar[bool]
    headed: ClassVar[bool]

    def outputs(self, names: int) -> int:
        """Columns of a head's logits for a cohort with so many names of classes or findings.

        Raises:
            SpecError: There are too few.
        """
        ...

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Float[b], the loss of each sample; 0 where the label is unknown."""
        ...

    def mean_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Scalar, the mean of `loss` over the samples of known label; 0 where there is none."""
        ...

    def error(self, logits: Tensor, label: Tensor) -> Tensor:
        """Float[b], how wrong each prediction is: 0 = right; anything where the label is unknown."""
        ...

    def auc(self, logits: Tensor, label: Tensor) -> float | None:
        """How well the logits of samples of known label rank them; None where that is undefined."""
        ...

    def groups(self, label: Tensor) -> Tensor:
        """Int64[b], labels that are alike share a number: what is compared between two sets; -1 = unknown."""
        ...

    def margin(self, label: Tensor, other: Tensor) -> Tensor:
        """Float[b], by how much a sample's own pair must be ranked above that with another sample."""
        ...

    def link(self, one: Tensor, other: Tensor, label: Tensor, study: Tensor) -> Tensor:
        """Scalar, how badly the embeddings of two modalities, Float[b, d] each, find each other."""
        ...

    def distance(self, student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Scalar, >= 0: how far a student's logits are from a teacher's, without gradient; mean over the batch."""
        ...

    def distance_without_truth(
        self, student: Tensor, teacher: Tensor, label: Tensor, *, truth: float
    ) -> Tensor:
        """Scalar, >= 0: `distance` from a teacher that leaves the true label a probability; 0 where none is known."""
        ...

    def prediction(self, logits: Tensor) -> Tensor:
        """Float[b, k], what a head predicts: probabilities, or values where labels are values."""
        ...

    def mean_prediction(self, logits: Sequence[Tensor]) -> Tensor:
        """Float[b, k], the logits of the mean of several models' predictions."""
        ...

    def other(self, label: Any, classes: int, *, rule: Rule, generator: np.random.Generator) -> Any:
        """A label, as `Tensor.tolist` gives it, drawn by a rule; an unknown one stays, and takes a draw, too."""
        ...

    def space(self, head: nn.Linear) -> Space:
        """The space of a head's logits, in which outputs of labels can be transported."""
        ...

    def convex(self, features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
        """The loss of a linear head with bias, summed, as a strictly convex function of its weights.

        Args:
            features: Float64[n, d] with a last column of ones.
            label: Of the n samples, each known.
            noise: Float64[k, d], the gradient of a linear term.
            ridge: Weight of ``n / 2 |w|^2``, > 0.
        """
        ...


class TaskMeasures(Protocol):
    """What evaluation, attacks and audit ask of the labels; none of those given is unknown in every part.

    Logits are Float[n, k]; labels as in `forgetmi.core.cohort.Cohort.label`. What `predictions` makes of logits is what
    every other function reads: log-probabilities Float[n, k] of classes, log-odds Float[n, f] of findings, Float[n] of
    values.
    """

    # As it is registered; whether exactly one of several classes is true
    name: ClassVar[str]
    one_class: ClassVar[bool]

    # The two metrics of predictions that the gap and the harm to others look at, and what `distance` is, in words
    headline: ClassVar[tuple[str, str]]
    distance_note: ClassVar[str]

    def predictions(self, logits: Floats) -> Floats:
        """Float[n, ...], of finite logits."""
        ...

    def together(self, single: Sequence[Floats]) -> Floats:
        """What several heads predict together, from what each predicts."""
        ...

    def signal(self, prediction: Floats, label: Labels) -> Floats:
        """Float[n], larger = more like a training sample."""
        ...

    def loss(self, prediction: Floats, label: Labels) -> Floats:
        """Float[n], >= 0, in nats up to a constant."""
        ...

    def distance(self, first: Floats, second: Floats) -> Floats:
        """Float[n], how far two models' predictions are apart, 0 = the same."""
        ...

    def divergence(self, first: Floats, second: Floats) -> Floats:
        """Float[n], symmetric Kullback-Leibler divergence of two models' predictions, in nats."""
        ...

    def correct(self, prediction: Floats, label: Labels) -> Floats | None:
        """Float[n], share of each sample's labels that are predicted right; None where nothing is right or wrong."""
        ...

    def scores(self) -> tuple[str, ...]:
        """Names of the metrics of predictions (`forgetmi.evaluation.metrics`), in the order of the result."""
        ...

    def single_scores(self, columns: int) -> tuple[str, ...]:
        """Names of metrics of single columns of the logits, such as each finding's AUC; mostly none."""
        ...

    def score(self, name: str, prediction: Floats, label: Labels) -> Callable[[Floats], Floats]:
        """A metric as a function of the samples' weights: Float[b, n] to Float[b], NaN where it is undefined.

        Raises:
            EvaluationError: It is undefined on these samples, whatever the weights.
        """
        ...

    def note(self, name: str, columns: int, label: Labels, names: Sequence[str]) -> str:
        """What the reader of a metric must know of these labels; mostly "".

        Args:
            name: Of the metric.
            columns: Columns of the logits.
            label: Of the samples.
            names: Of the classes or findings; empty = not known.
        """
        ...

    def groups(self, label: Labels) -> Ints:
        """Int[n], within which of two sets' samples are compared: labels that are alike share a number, -1 = none.

        Args:
            label: Of all samples of a cohort, unknown ones too: groups of some of them alone could mean something else.
        """
        ...

    def group_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """What the groups 0, 1 ... are called."""
        ...

    def faults(self, label: Labels, columns: int, names: Sequence[str]) -> list[Fault]:
        """Why labels are not of this task, or cannot be measured; arguments as in `note`."""
        ...


def of_name(name: str, halves: Mapping[str, T], registry: Registry) -> T:
    """One half of a task, by the task's name: one of this package's, or one that another package registers.

    Args:
        name: Of the task.
        halves: This package's.
        registry: Of these halves; a part is the half itself, or a class that makes it without arguments.

    Raises:
        SpecError: There is no such half; the nearest is named.
    """
    if name in halves:
        return halves[name]
    if name in registry.names():
        half = registry.get(name)
        return half() if isinstance(half, type) else half

    known = dict.fromkeys([*halves, *registry.names()])
    do = did_you_mean(name, known, then=f"One of: {', '.join(known)}.")
    why = f"no half of that name is registered as {registry.group}"
    raise SpecError(Fault(f"there is no task {quoted(name)}", why=why, do=do))
