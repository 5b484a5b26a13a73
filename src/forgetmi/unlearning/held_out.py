"""Held-out samples that stand beside forgotten ones: drawn at random, by label, or as nearest neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import side_by_side
from forgetmi.unlearning.teacher import tabulate

Choice = Literal["uniform", "classes", "nearest"]


class HeldOut:
    """A frozen model's outputs for validation patients, and which of them belong to a batch of forgotten ones.

    Args:
        teacher: Frozen; it is run over the validation set once.
        loaders: Validation is read; its labels where the choice is by classes.
        choice: uniform, at random and each at most once; classes, for each forgotten sample some of the same label (any
            where it is unknown or nobody has it); nearest, those with the smallest distance of all embeddings together.
        task: Of the labels; its groups say which are alike.
        seed: Root seed of what is drawn.

    Raises:
        MethodError: There are no validation patients.
    """

    def __init__(
        self,
        teacher: NetModule,
        loaders: GuardedLoaders,
        *,
        choice: Choice,
        task: Task,
        seed: int,
    ) -> None:
        validation = loaders.validation
        if len(validation.rows) == 0:
            raise MethodError(Fault("there is no held-out patient to be compared with"))
        self._teacher = teacher
        self._choice = choice
        self._task = task
        self._seed = seed

        # Outputs and labels in one pass.
        groups: list[Tensor] = []

        def noted(batch: Batch) -> Batch:
            groups.append(task.groups(batch.label).cpu())
            return batch

        self._outputs = tabulate(teacher, map(noted, validation.batches(validation.rows))).outputs
        self._group = torch.cat(groups).numpy()

        # Who lacks a modality is no reference for its head.
        self._present = validation.present(validation.rows)

    def of(self, batch: Batch, *, each: int, epoch: int, batch_number: int) -> Outputs:
        """The frozen model's outputs for the held-out samples that belong to a batch, each head's of those it is for.

        Args:
            batch: Forgotten samples.
            each: Held-out samples for each of them, >= 1; fewer where there are not as many.
            epoch, batch_number: What is drawn is a pure function of them and the seed.
        """
        generator = numpy_generator(self._seed, "unlearn", "held out", epoch, batch_number)
        match self._choice:
            case "uniform":
                places = self._uniform(len(batch) * each, generator)
            case "classes":
                places = self._of_classes(
                    self._task.groups(batch.label).cpu().numpy(), each, generator
                )
            case _:
                places = self._nearest(batch, each)

        # For a head neither who lacks its modality stands, nor beside whom of the forgotten lacks it
        chosen = torch.as_tensor(places)
        there: dict[str, Tensor] = {}
        for name, values in self._present.items():
            there[name] = values[chosen.to(values.device)]
            if self._choice != "uniform":
                beside = batch.there(name).repeat_interleave(len(places) // len(batch))
                there[name] &= beside.to(values.device)
        outputs = self._outputs.each(lambda values: values[chosen.to(values.device)])
        return outputs.of_those_there(there)

    def _uniform(self, count: int, generator: np.random.Generator) -> Ints:
        there = len(self._group)
        return generator.choice(there, size=min(count, there), replace=False).astype(np.int64)

    def _of_classes(self, group: Ints, each: int, generator: np.random.Generator) -> Ints:
        """For each sample some of its label, drawn with replacement."""
        everyone = np.arange(len(self._group))
        drawn: list[Ints] = []
        for own in group:
            # An unknown label has no group.
            same = everyone[self._group == own] if own >= 0 else everyone
            pool = same if len(same) else everyone
            drawn.append(generator.choice(pool, size=each).astype(np.int64))
        return np.concatenate(drawn)

    @torch.no_grad()
    def _nearest(self, batch: Batch, each: int) -> Ints:
        """For each sample the held-out ones whose embeddings are nearest."""
        own = side_by_side(self._teacher(batch))
        distances = torch.cdist(own, side_by_side(self._outputs))
        nearest = distances.topk(min(each, distances.shape[1]), largest=False).indices
        return nearest.reshape(-1).cpu().numpy()
