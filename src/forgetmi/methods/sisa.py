"""SISA: train an ensemble on separate groups of patients, so that forgetting a patient retrains a part of a member."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Epochs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Draws
from forgetmi.core.seeding import derive, numpy_generator
from forgetmi.core.task import Task
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop
from forgetmi.model.train import TrainingTrace, fit
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.original import OwnOriginal, TrainedOriginal, TrainingTask
from forgetmi.unlearning.shard_log import SliceLog, Slices, Weights

# Images below which a step is skipped.
FEWEST = 2


@dataclass(frozen=True)
class Sisa:
    """Sharded, isolated, sliced and aggregated training, by patient.

    The original is an `Ensemble` made by `train`; unlearning starts each affected shard again from the checkpoint
    before its first affected slice, without the forgotten. The result is exactly what training without them gives. Use
    it when single requests are expected from the start. For a batch of m patients about S (1 - (1 - 1/S)^m) of the S
    shards are affected: 4.9 of 5 for 16 patients, and little is saved. Each member sees 1/S of the patients, at a cost
    in accuracy: compare it with its own original.

    Args:
        shards: Number S of groups of patients with a model each, >= 1.
        slices: Number R of steps in which a group's patients are added, >= 1; each step trains 2 / (R + 1) of the
            recipe's epochs on all patients added so far, so that the work is that of one training.

    Source: Bourtoule et al. 2021 (arXiv 1912.03817), repository cleverhans-lab/machine-unlearning. As there, a step
    starts with a new optimiser and only weights are stored. Deviations: shards hold whole patients; a patient's place
    depends on the seed and the cohort alone, never on who else is trained on; probabilities are averaged, not votes; a
    step with fewer than two images is skipped. Shard 0 uses the root seed, the others seeds derived from it. The forget
    set is read for its row numbers only.

    Examples:
        >>> method = Sisa(shards=3)
        >>> method.shards, method.info.exact
        (3, True)
        >>> sorted(method.info.reads)
        ['forget', 'fresh model', 'labels', 'recipe', 'retain', 'training log']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="SISA",
        paper="Bourtoule et al., IEEE S&P 2021, arXiv 1912.03817",
        summary="The model was built from parts that each saw only some patients; the parts that saw the forgotten are "
        "trained again without them.",
        reads=frozenset({"forget", "retain", "labels", "recipe", "fresh model", "training log"}),
        exact=True,
        cost="affected shards / shards x 1/2 to 1 of a training, by the first slice affected",
        suits="models planned for removal from the start, with single requests over time",
        original=OwnOriginal(lambda method, task: method.train(task), SliceLog.load),
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh", "predictions"})
    moves: ClassVar[Moves] = "stored weights"

    shards: Draws = 5
    slices: Draws = 3

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1:
            raise MethodError(Fault("shards and slices must be at least 1", where="sisa"))

    def train(self, task: TrainingTask) -> TrainedOriginal:
        """Train the original: an `Ensemble`, in eval mode, and the `SliceLog` that unlearning will need."""
        # A patient's shard and slice depend on the seed and the cohort alone.
        patient, seed, rows = task.patient, task.seed, task.samples.rows
        place = numpy_generator(seed, "sisa").permutation(int(patient.max()) + 1)[patient]
        trained = np.isin(np.arange(len(patient)), rows)
        untrained: list[list[Weights]] = [[{}] * self.slices for _ in range(self.shards)]
        progress = Slices(
            np.where(trained, place % self.shards, -1),
            np.where(trained, place // self.shards % self.slices, -1),
            untrained,
        )

        # One model for each shard, trained slice by slice.
        seeds = [shard_seed(seed, shard) for shard in range(self.shards)]
        model = Ensemble([task.fresh_model(own_seed) for own_seed in seeds], task=task.task)
        steps = list(itertools.product(range(self.shards), range(self.slices)))
        loop = EpochLoop(
            len(steps),
            state={"model": model, "slices": progress},
            file=task.state,
            seed=seed,
            stage="train",
            key=self._key(task),
        )
        with closing(iter(loop)) as numbers:
            for number in numbers:
                shard, last = steps[number]
                self._train_slice(
                    model.member(shard),
                    progress,
                    shard,
                    last,
                    recipe=task.recipe,
                    task=task.task,
                    seed=seed,
                    batches=lambda rows, size: task.samples.for_training(size, rows=rows),
                )
                if task.progress is not None:
                    task.progress(number + 1, len(steps))

        trace = TrainingTrace(tuple(progress.epochs))
        return TrainedOriginal(model.eval(), trace, progress.log())

    def apply(self, model: Ensemble, loaders: GuardedLoaders, context: Context) -> Ensemble:
        """Run the method; see the class."""
        log, retain = context.training_log, loaders.retain
        forget_rows = loaders.forget.rows
        self._check(model, log, np.union1d(forget_rows, retain.rows))

        # The first affected slice of each affected shard, and the slices from there on.
        first = self._first_affected(log, forget_rows)
        steps: list[tuple[int, int]] = []
        for shard in sorted(first):
            steps += [(shard, last) for last in range(first[shard], self.slices)]

        # The log without the forgotten, whose later slices are trained again.
        forgotten = np.isin(np.arange(len(log.shard)), forget_rows)
        progress = Slices(
            np.where(forgotten, -1, log.shard),
            np.where(forgotten, -1, log.slice),
            log.weights,
        )
        student = copy.deepcopy(model)
        for number in context.epochs(len(steps), student=student, slices=progress):
            shard, last = steps[number]
            member = student.member(shard)

            # Start afresh, or from the checkpoint before the first affected slice.
            if last == 0:
                fresh = context.fresh_model(shard_seed(context.seed, shard))
                member.load_state_dict(fresh.state_dict())
            elif last == first[shard]:
                member.load_state_dict(log.weights[shard][last - 1])

            trace = self._train_slice(
                member,
                progress,
                shard,
                last,
                recipe=context.recipe,
                task=context.task,
                seed=context.seed,
                batches=lambda rows, size: retain.for_training(size, rows=rows),
            )
            context.count(trace, retain, heads=member.heads)

        # What was done, and the log for the next request.
        context.facts.update({"shards affected": len(first), "slices trained again": len(steps)})
        context.keep_log(progress.log())
        return student

    def _key(self, task: TrainingTask) -> str:
        """What an interrupted training and the one that resumes it must have in common."""
        # Everything that decides the result.
        rows, patient = task.samples.rows, task.patient
        key = f"{self!r} {task.recipe!r} {task.seed} {task.task.name} {rows.tobytes()!r} {patient.tobytes()!r}"
        return hashlib.sha256(key.encode()).hexdigest()

    def _first_affected(self, log: SliceLog, forget_rows: Ints) -> dict[int, int]:
        """The first slice with a forgotten patient, for each shard that has one."""
        shards, slices = log.shard[forget_rows], log.slice[forget_rows]
        first: dict[int, int] = {}
        for shard in set(shards):
            first[int(shard)] = int(slices[shards == shard].min())
        return first

    def _train_slice(
        self,
        member: NetModule,
        progress: Slices,
        shard: int,
        last: int,
        *,
        recipe: Recipe,
        task: Task,
        seed: int,
        batches: Callable[[Ints, int], Epochs],
    ) -> TrainingTrace:
        """Train one shard's model on its patients up to a slice, and store its weights."""
        # Of the recipe's epochs as many as make the work that of one training.
        share = 2 * recipe.epochs / (self.slices + 1)
        epochs = min(recipe.epochs, max(1, round(share)))
        recipe = replace(recipe, epochs=epochs)

        # Too few images cannot be trained on.
        trace = TrainingTrace(())
        rows = progress.rows(shard, last)
        if len(rows) >= FEWEST:
            trace = fit(
                member,
                batches(rows, recipe.batch_size),
                recipe,
                task=task,
                seed=shard_seed(seed, shard),
            )

        # The checkpoint of this slice.
        weights = {name: value.detach().clone() for name, value in member.state_dict().items()}
        progress.weights[shard][last] = weights
        progress.epochs.extend(trace.epochs)
        return trace

    def _check(self, model: Any, log: Any, trained: Ints) -> None:
        """Refuse a model or log that this method, with these options, did not make of these rows."""
        if not isinstance(log, SliceLog) or not isinstance(model, Ensemble):
            raise MethodError(
                Fault(
                    "SISA works on its own original alone",
                    do="Train it with forgetmi train --method sisa, or in Python with train_original.",
                )
            )

        shards, slices = len(log.weights), len(log.weights[0])
        if (shards, slices) != (self.shards, self.slices):
            raise MethodError(
                Fault(
                    f"the original has {shards} shards of {slices} slices",
                    why=f"{self.shards} of {self.slices} were asked for",
                )
            )
        if not np.array_equal(np.flatnonzero(log.shard >= 0), trained):
            raise MethodError(
                Fault(
                    "the training log is of a training on other rows than forget and retain together"
                )
            )


def shard_seed(seed: int, number: int) -> int:
    """Seed of one shard's model: the root seed for the first, so that one shard is Retrain; no two roots share any."""
    return seed if number == 0 else derive(seed, "shard", number)
