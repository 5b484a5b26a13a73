"""S3T: train blocks of adapters on growing slices of patients, and switch off the blocks that saw the forgotten."""

from __future__ import annotations

import copy
import hashlib
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.carrier import COMPLETE, COVERS, Carrier
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import JOIN, Need, Part
from forgetmi.core.ranges import Draws, Positive
from forgetmi.core.seeding import numpy_generator
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.resume import EpochLoop
from forgetmi.model.train import TrainingTrace
from forgetmi.unlearning.adapter_blocks import base_of, layers_of_blocks
from forgetmi.unlearning.applies import check_applies
from forgetmi.unlearning.block_log import BlockLog, BlocksUnderWay
from forgetmi.unlearning.block_training import member_of, steps_of, train_block
from forgetmi.unlearning.carrier_applies import check_layers
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.original import OwnOriginal, TrainedOriginal, TrainingTask


@dataclass(frozen=True)
class S3T:
    """Sequence-aware sharded sliced training: exact removal by switching adapters off.

    The original is an `Ensemble` made by `train`, one model for each shard of patients, on public towers that never
    move. A shard's patients are cut into slices, and its adapters into as many blocks, the top layers first: block i is
    trained on the first i slices with the blocks before it frozen. A request switches off every block that saw a
    forgotten patient and serves with the rest: no training, at once. Several orders of the slices are kept, and the one
    with most blocks left serves; where fewer than `least` are left, the affected blocks of all orders of the shard are
    trained again. Use it for single requests that must be exact and cost nothing when they come, and where models of
    public towers and adapters are good enough; the original costs as many trainings as there are orders. Fewer blocks
    mean a simpler model: watch its AUC, and train again in quiet hours with `least`.

    Every tensor of the result is a public one, or was computed from retained patients and the seed alone. That covers
    the adapters, heads and projections; **the public towers below them must not have seen the patients**: towers whose
    specification says ``saw_patients`` are refused, as are random ones. Which blocks are off tells from which slices
    somebody withdrew.

    Args:
        shards: Number of groups of patients with a model each, >= 1.
        slices: Number of slices of a group, and of blocks of adapters, >= 1; a block is trained for 2 / (slices + 1) of
            the recipe's epochs, so that the work of an order is that of one training.
        orders: In how many orders the slices are learned, 1 to `slices`: each costs one training.
        least: Fewest blocks that a shard serves with, >= 1. With `slices` or more no block stays off: the result is,
            bit for bit, what training without the forgotten gives.
        rank: Of each adapter, >= 1.
        alpha: Each adapter's output is multiplied by alpha / rank, > 0.

    Source: Chowdhury et al., ICLR 2025 (arXiv 2406.16257), after its abstract and the description in its repository;
    no code of it was used. Deviations: whole patients, whose place depends on seed and cohort alone; heads and
    projections, which adapters need, are stored with each block and go back with it; orders are rotations of the
    slices, evenly apart, and no more of them than slices, so that there is no matching to choose them; the order with
    most blocks left serves, not the best on validation patients; a shard is trained again from the first affected
    block, not from the start; probabilities of shards are averaged. A block with fewer than two images is not trained.
    The forget set is read for its row numbers only.

    Examples:
        >>> method = S3T(shards=2, slices=3)
        >>> method.slices, method.info.exact
        (3, True)
        >>> sorted(method.info.reads)
        ['forget', 'fresh model', 'labels', 'recipe', 'retain', 'training log']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="S3T",
        paper="Chowdhury et al., ICLR 2025, arXiv 2406.16257",
        summary="The model was built in layers that each learned from some patients; the layers that learned from the "
        "forgotten are switched off.",
        reads=frozenset({"forget", "retain", "labels", "recipe", "fresh model", "training log"}),
        exact=True,
        cost="0 while blocks are left; else up to orders x affected shards / shards of a training",
        suits="models on public towers, planned for removal from the start, with single urgent requests",
        original=OwnOriginal(lambda method, task: method.train(task), BlockLog.load),
        search={"least": (1, 2)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh", "predictions", "public towers"})
    moves: ClassVar[Moves] = "own adapters"

    shards: Draws = 3
    slices: Draws = 4
    orders: Draws = 2
    least: Draws = 1
    rank: Draws = 8
    alpha: Positive = 16.0

    def __post_init__(self) -> None:
        # Each rule, and whether it holds
        rules = {
            "shards must be at least 1": self.shards >= 1,
            "slices must be at least 1": self.slices >= 1,
            "orders must be 1 to slices": 1 <= self.orders <= self.slices,
            "least must be at least 1": self.least >= 1,
        }
        faults = [Fault(rule, where="s3t") for rule, holds in rules.items() if not holds]
        if faults:
            raise MethodError(faults)
        Carrier("lora", rank=self.rank, alpha=self.alpha)

    @property
    def carrier(self) -> Carrier:
        """Its adapters, on all layers that can be adapted."""
        return Carrier("lora", rank=self.rank, alpha=self.alpha)

    def train(self, task: TrainingTask) -> TrainedOriginal:
        """Train the original: an `Ensemble`, in eval mode, and the `BlockLog` that unlearning will need."""
        # The same new model serves for all blocks of an order.
        fresh_model = lru_cache(maxsize=1)(task.fresh_model)
        fresh = fresh_model(task.seed)
        check_applies(self, fresh, task.task)
        check_layers(fresh, self.carrier)
        layers = layers_of_blocks(fresh, self.carrier, self.slices)

        # A patient's shard and slice depend on the seed and the cohort alone.
        patient, seed, rows = task.patient, task.seed, task.samples.rows
        place = numpy_generator(seed, "s3t").permutation(int(patient.max()) + 1)[patient]
        trained = np.isin(np.arange(len(patient)), rows)
        empty = BlockLog(
            np.where(trained, place % self.shards, -1),
            np.where(trained, place // self.shards % self.slices, -1),
            self.slices,
            (((),) * self.orders,) * self.shards,
            str(self.carrier),
            base_of(fresh, self.carrier),
        )

        # Shard by shard, order by order, block by block.
        progress = BlocksUnderWay(empty)
        steps = steps_of(empty, range(self.shards))
        loop = EpochLoop(
            len(steps),
            state={"blocks": progress},
            file=task.state,
            seed=seed,
            stage="train",
            key=self._key(task),
        )
        with closing(iter(loop)) as numbers:
            for number in numbers:
                train_block(
                    progress,
                    steps[number],
                    fresh_model,
                    self.carrier,
                    layers,
                    recipe=task.recipe,
                    task=task.task,
                    seed=seed,
                    batches=lambda rows, size: task.samples.for_training(size, rows=rows),
                )
                if task.progress is not None:
                    task.progress(number + 1, len(steps))

        log = progress.log()
        members = []
        for shard in range(self.shards):
            members.append(member_of(log, shard, fresh, self.carrier, layers))
        model = Ensemble(members, task=task.task)
        return TrainedOriginal(model.eval(), TrainingTrace(tuple(progress.epochs)), log)

    def apply(self, model: Ensemble, loaders: GuardedLoaders, context: Context) -> Ensemble:
        """Run the method; see the class."""
        log, retain = context.training_log, loaders.retain
        forget_rows = loaders.forget.rows
        self._check(model, log, np.union1d(forget_rows, retain.rows))
        fresh_model = lru_cache(maxsize=1)(context.fresh_model)
        fresh = fresh_model(context.seed)
        layers = layers_of_blocks(fresh, self.carrier, self.slices)
        if log.base != base_of(fresh, self.carrier):
            raise MethodError(
                Fault(
                    "the public weights are not those that the adapters were trained on",
                    do="Name the towers' files that the original was trained with.",
                )
            )

        # Every block that saw a forgotten patient is switched off.
        remaining = log.without(forget_rows)
        affected = [
            shard for shard in range(self.shards) if remaining.left(shard) != log.left(shard)
        ]
        least = min(self.least, self.slices)
        again = [shard for shard in affected if max(remaining.left(shard)) < least]

        # Where too few are left, all orders are trained from there on.
        progress = BlocksUnderWay(remaining)
        steps = steps_of(remaining, again)
        for number in context.epochs(len(steps), blocks=progress):
            trace = train_block(
                progress,
                steps[number],
                fresh_model,
                self.carrier,
                layers,
                recipe=context.recipe,
                task=context.task,
                seed=context.seed,
                batches=lambda rows, size: retain.for_training(size, rows=rows),
            )
            context.count(trace, retain, heads=model.member(0).heads)

        # The models of affected shards; what joins embeddings was never trained and stays.
        finished = progress.log()
        student = copy.deepcopy(model)
        for shard in affected:
            new = member_of(finished, shard, fresh, self.carrier, layers)
            joining = new.parts().get(JOIN, Part(())).names
            state = {name: value for name, value in new.state_dict().items() if name not in joining}
            student.member(shard).load_state_dict(state, strict=False)

        # What was done, and the log for the next request.
        context.facts.update(
            {
                "shards affected": len(affected),
                "shards trained again": len(again),
                "blocks trained again": len(steps),
                "blocks in service, of each shard": [
                    max(finished.left(shard)) for shard in range(self.shards)
                ],
                COVERS: "adapters on public towers, and new heads",
                COMPLETE: True,
            }
        )
        context.keep_log(finished)
        return student

    def _key(self, task: TrainingTask) -> str:
        """What an interrupted training and the one that resumes it must have in common."""
        # Everything that decides the result; how few blocks may serve does not.
        own = replace(self, least=1)
        rows, patient = task.samples.rows, task.patient
        key = f"{own!r} {task.recipe!r} {task.seed} {task.task.name} {rows.tobytes()!r} {patient.tobytes()!r}"
        return hashlib.sha256(key.encode()).hexdigest()

    def _check(self, model: Any, log: Any, trained: Ints) -> None:
        """Refuse a model or log that this method, with these options, did not make of these rows."""
        if not isinstance(log, BlockLog) or not isinstance(model, Ensemble):
            raise MethodError(
                Fault(
                    "S3T works on its own original alone",
                    do="Train it with forgetmi train --method s3t, or in Python with train_original.",
                )
            )

        sizes = (len(log.blocks), log.slices, log.orders, log.adapters)
        if sizes != (self.shards, self.slices, self.orders, str(self.carrier)):
            raise MethodError(
                Fault(
                    "the original has {} shards of {} slices in {} orders, of {}".format(*sizes),
                    why=f"{self.shards} of {self.slices} in {self.orders}, of {self.carrier}, were asked for",
                )
            )
        if not np.array_equal(np.flatnonzero(log.shard >= 0), trained):
            raise MethodError(
                Fault(
                    "the training log is of a training on other rows than forget and retain together"
                )
            )
