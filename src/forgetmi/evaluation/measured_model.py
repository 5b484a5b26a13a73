"""One model's signals as they are measured: set by set, and head by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from forgetmi.core.arrays import Floats
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.measured_set import MeasuredSet
from forgetmi.evaluation.signals import Head, heads_of, predictions
from forgetmi.evaluation.statistics import PatientSample


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one head of one model predicts for the images of a set that it is measured on.

    Reading raises where logits are not finite.
    """

    signals: Signals
    head: Head
    task: TaskMeasures

    @cached_property
    def values(self) -> Floats:
        """As `forgetmi.core.task.TaskMeasures.predictions` makes them."""
        return predictions(self.signals, self.head, self.task)

    @cached_property
    def margin(self) -> Floats:
        return self.task.signal(self.values, self.signals.label)

    @cached_property
    def loss(self) -> Floats:
        return self.task.loss(self.values, self.signals.label)

    @property
    def logits(self) -> Floats:
        """Of a single head; all heads together have none."""
        return self.signals.of_head(self.head)


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """One model's signals, set by set and head by head.

    Args:
        task: How its predictions are measured.
        names: Of the classes or findings; empty = not known.
        heads: Those it is measured by, see `forgetmi.evaluation.signals.heads_of`.
        sets: By reported name.
        all_images: Signals on all images of each set.
        predictions: By head and set, on the labelled images that have what the head reads.
    """

    task: TaskMeasures
    names: Sequence[str]
    heads: tuple[Head, ...]
    sets: Mapping[str, MeasuredSet]
    all_images: Mapping[str, Signals]
    predictions: Mapping[tuple[Head, str], Predictions]

    def images(self, head: Head, on: str) -> PatientSample:
        """The patients of the images of a set that a head is measured on, resampled."""
        return self.sets[on].of_head[head].images


def measured_model(
    signals: Signals,
    sets: Mapping[str, MeasuredSet],
    *,
    task: TaskMeasures,
    names: Sequence[str] = (),
) -> MeasuredModel:
    """Divide a model's signals into sets and heads."""
    heads = heads_of(signals)
    all_images = {}
    predictions: dict[tuple[Head, str], Predictions] = {}
    for name, measured in sets.items():
        all_images[name] = signals.select(measured.rows)
        for head in heads:
            of_head = signals.select(measured.of_head[head].rows)
            predictions[head, name] = Predictions(of_head, head, task)
    return MeasuredModel(task, names, heads, sets, all_images, predictions)
