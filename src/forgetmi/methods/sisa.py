"""SISA: train an ensemble on separate groups of patients, so that forgetting one retrains a part of one member."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Epochs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.seeding import derive, numpy_generator
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop
from forgetmi.model.train import TrainingTrace, fit
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.original import OwnOriginal, TrainedOriginal, TrainingTask
from forgetmi.unlearning.shard_log import SliceLog, Slices

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

    shards: int = 5
    slices: int = 3

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1:
            raise MethodError(Fault("shards and slices must be at least 1", where="sisa"))

    def train(self, task: TrainingTask) -> TrainedOriginal:
        """Train the original: an `Ensemble`, in eval mode, and the `SliceLog` that unlearning will need."""
        patient, seed, rows = task.patient, task.seed, task.samples.rows
        place = numpy_generator(seed, "sisa").permutation(int(patient.max()) + 1)[patient]
        trained = np.isin(np.arange(len(patient)), rows)
        done = Slices(
            np.where(trained, place % self.shards, -1),
            np.where(trained, place // self.shards % self.slices, -1),
            [[{} for _ in range(self.slices)] for _ in range(self.shards)],
        )
        model = Ensemble(
            [task.fresh_model(shard_seed(seed, number)) for number in range(self.shards)]
        )
        steps = [(number, last) for number in range(self.shards) for last in range(self.slices)]
        key = f"{self!r} {task.recipe!r} {seed} {task.ordinal} {rows.tobytes()!r} {patient.tobytes()!r}"
        loop = EpochLoop(
            len(steps),
            state={"model": model, "slices": done},
            file=task.state,
            seed=seed,
            stage="train",
            key=hashlib.sha256(key.encode()).hexdigest(),
        )
        with closing(iter(loop)) as numbers:
            for at in numbers:
                self._one(
                    model.member(steps[at][0]),
                    done,
                    *steps[at],
                    recipe=task.recipe,
                    ordinal=task.ordinal,
                    seed=seed,
                    batches=lambda rows, size: task.samples.for_training(size, rows=rows),
                )
                if task.progress is not None:
                    task.progress(at + 1, len(steps))
        return TrainedOriginal(model.eval(), TrainingTrace(tuple(done.epochs)), done.log())

    def apply(self, model: Ensemble, loaders: GuardedLoaders, context: Context) -> Ensemble:
        """Run the method; see the class."""
        log, lost, retain = context.training_log, loaders.forget.rows, loaders.retain
        self._check(model, log, np.union1d(lost, retain.rows))
        first = {
            int(number): int(log.slice[lost][log.shard[lost] == number].min())
            for number in set(log.shard[lost])
        }
        steps = [
            (number, last) for number in sorted(first) for last in range(first[number], self.slices)
        ]
        gone = np.isin(np.arange(len(log.shard)), lost)
        done = Slices(np.where(gone, -1, log.shard), np.where(gone, -1, log.slice), log.weights)
        student = copy.deepcopy(model)
        for at in context.epochs(len(steps), student=student, slices=done):
            (number, last), seed = steps[at], context.seed
            member = student.member(number)
            if last == 0:
                member.load_state_dict(context.fresh_model(shard_seed(seed, number)).state_dict())
            elif last == first[number]:
                member.load_state_dict(log.weights[number][last - 1])
            trace = self._one(
                member,
                done,
                number,
                last,
                recipe=context.recipe,
                ordinal=context.ordinal,
                seed=seed,
                batches=lambda rows, size: retain.for_training(size, rows=rows),
            )
            context.count(trace, retain)
        context.facts.update({"shards affected": len(first), "slices trained again": len(steps)})
        context.keep_log(done.log())
        return student

    def _one(
        self,
        member: ImageText,
        done: Slices,
        number: int,
        last: int,
        *,
        recipe: Recipe,
        ordinal: bool,
        seed: int,
        batches: Callable[[Ints, int], Epochs],
    ) -> TrainingTrace:
        """Train one shard's model on its patients up to a slice, and keep its weights."""
        share = 2 * recipe.epochs / (self.slices + 1)
        recipe = replace(recipe, epochs=min(recipe.epochs, max(1, round(share))))
        rows, trace = done.rows(number, last), TrainingTrace(())
        if len(rows) >= FEWEST:
            trace = fit(
                member,
                batches(rows, recipe.batch_size),
                recipe,
                ordinal=ordinal,
                seed=shard_seed(seed, number),
            )
        done.weights[number][last] = {
            name: value.detach().clone() for name, value in member.state_dict().items()
        }
        done.epochs.extend(trace.epochs)
        return trace

    def _check(self, model: Any, log: Any, trained: Ints) -> None:
        if not isinstance(log, SliceLog) or not isinstance(model, Ensemble):
            raise MethodError(
                Fault(
                    "SISA works on its own original alone",
                    do="Train it with forgetmi train --method sisa, or api.train_original.",
                )
            )
        found = len(log.weights), len(log.weights[0])
        if found != (self.shards, self.slices):
            raise MethodError(
                Fault(
                    f"the original has {found[0]} shards of {found[1]} slices",
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
