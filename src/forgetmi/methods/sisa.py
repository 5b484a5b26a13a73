"""SISA: train an ensemble on separate groups of patients, so that forgetting one retrains a part of one member."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch import nn

from forgetmi.batch.loaders import Loader, Records
from forgetmi.errors import Fault, MethodError
from forgetmi.methods.access import Loaders
from forgetmi.methods.base import Context, MethodInfo
from forgetmi.methods.sharded import Ensemble, SliceLog, Weights
from forgetmi.model.image_text import ImageText
from forgetmi.model.train import Recipe, fit
from forgetmi.seeding import numpy_generator
from forgetmi.types import Ints

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
    step with fewer than two images is skipped. Shard j uses the root seed + j. The forget set is read for its row
    numbers only.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="SISA",
        paper="Bourtoule et al., IEEE S&P 2021, arXiv 1912.03817",
        summary="The model was built from parts that each saw only some patients; the parts that saw the forgotten are "
                "trained again without them.",
        reads=frozenset({"forget", "retain", "labels", "recipe", "fresh model", "training log"}),
        exact=True,
        cost="affected shards / shards x about 2/3 of a training",
        suits="models planned for removal from the start, with single requests over time",
    )

    shards: int = 5
    slices: int = 3

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1:
            raise MethodError(Fault("shards and slices must be at least 1", where="sisa"))

    def train(
        self, records: Records, *, rows: Ints, patient: Ints, recipe: Recipe, fresh_model: Callable[[int], ImageText],
        seed: int, ordinal: bool = True,
    ) -> tuple[Ensemble, SliceLog]:
        """Train the original.

        Args:
            records: Images and tokens of the cohort.
            rows: Training rows, sorted.
            patient: Int[n], patient codes of all rows of the cohort.
            recipe: How each member is trained.
            fresh_model: From a seed to an untrained model.
            seed: Root seed.
            ordinal: Whether the classes are grades.

        Returns:
            The ensemble, in eval mode, and what unlearning will need.
        """
        place = numpy_generator(seed, "sisa").permutation(int(patient.max()) + 1)[patient]
        trained = np.isin(np.arange(len(patient)), rows)
        shard, step = (np.where(trained, at, -1) for at in (place % self.shards, place // self.shards % self.slices))
        weights: list[tuple[Weights, ...]] = []
        for number in range(self.shards):
            member, after = fresh_model(seed + number), []
            for last in range(self.slices):
                use = _rows(shard, step, number, last)
                if len(use) >= FEWEST:
                    loader = Loader(records, use, batch_size=recipe.batch_size, seed=seed, avoid_single=True)
                    fit(member, loader, self._step(recipe), seed=seed + number, ordinal=ordinal)
                after.append(_weights(member))
            weights.append(tuple(after))
        log = SliceLog(shard, step, tuple(weights))
        return log.ensemble(fresh_model), log

    def apply(self, model: Ensemble, loaders: Loaders, context: Context) -> Ensemble:
        """Run the method; see the class."""
        log, lost, retain = context.training_log, loaders.forget.rows, loaders.retain
        self._check(model, log, np.union1d(lost, retain.rows))
        first = {int(number): int(log.slice[lost][log.shard[lost] == number].min()) for number in set(log.shard[lost])}
        steps = [(number, last) for number in sorted(first) for last in range(first[number], self.slices)]
        shard, step = (np.where(np.isin(np.arange(len(log.shard)), lost), -1, at) for at in (log.shard, log.slice))
        student, after = copy.deepcopy(model), _Checkpoints(log.weights)
        for at in context.epochs(len(steps), student=student, checkpoints=after):
            number, last = steps[at]
            member, seed = student.member(number), context.seed + number
            if last == first[number]:
                fresh = context.fresh_model(seed).state_dict()
                member.load_state_dict(fresh if last == 0 else log.weights[number][last - 1])
            use = _rows(shard, step, number, last)
            if len(use) >= FEWEST:
                recipe = self._step(context.recipe)
                context.count(fit(member, retain.for_training(recipe.batch_size, rows=use), recipe, seed=seed,
                                  ordinal=context.ordinal), retain)
            after.weights[number][last] = _weights(member)
        context.facts.update({"shards affected": len(first), "slices trained again": len(steps)})
        context.keep_log(SliceLog(shard, step, tuple(map(tuple, after.weights))))
        return student

    def _step(self, recipe: Recipe) -> Recipe:
        """The recipe of one slice's step."""
        return replace(recipe, epochs=min(recipe.epochs, max(1, round(2 * recipe.epochs / (self.slices + 1)))))

    def _check(self, model: Any, log: Any, trained: Ints) -> None:
        if not isinstance(log, SliceLog) or not isinstance(model, Ensemble):
            raise MethodError(Fault("SISA works on its own original alone",
                                    do="Make it with Sisa().train and give the log as training_log."))
        found = len(log.weights), len(log.weights[0])
        if found != (self.shards, self.slices):
            raise MethodError(Fault(f"the original has {found[0]} shards of {found[1]} slices",
                                    why=f"{self.shards} of {self.slices} were asked for"))
        if not np.array_equal(np.flatnonzero(log.shard >= 0), trained):
            raise MethodError(Fault("the training log is of a training on other rows than forget and retain together"))


class _Checkpoints:
    """The weights after each slice, as a resumable part."""

    def __init__(self, weights: Sequence[Sequence[Weights]]) -> None:
        self.weights = [list(shard) for shard in weights]

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.weights = state_dict["weights"]


def _rows(shard: Ints, step: Ints, number: int, last: int) -> Ints:
    """Rows a shard is trained on up to a slice, sorted."""
    return np.flatnonzero((shard == number) & (step <= last))


def _weights(model: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
