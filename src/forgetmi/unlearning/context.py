"""What a method is given besides the model and the loaders, and the log of what it does."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Recorder
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.logs import STEP, log_epoch, log_step
from forgetmi.core.seeding import derive
from forgetmi.core.task import Task
from forgetmi.model.executing import executing
from forgetmi.model.frozen_steps import training_prefixes
from forgetmi.model.losses import base_loss_names
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop
from forgetmi.model.step_values import StepValues
from forgetmi.model.train import Objective, TrainingTrace, fit
from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
from forgetmi.unlearning.pool_targets import PoolTargets
from forgetmi.unlearning.teacher import OutputTable

logger = logging.getLogger(__name__)


@dataclass
class Log:
    """Counters, mean losses and facts that grow while a method runs; an interrupted run restores them.

    Args:
        epochs: Mean of each loss term, per epoch.
        steps: Optimiser steps so far.
        first_gradient: Norm of the first step's gradient, None before the first step.
        facts: What else the method reports, by name.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    first_gradient: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        for counter in fields(self):
            setattr(self, counter.name, state[counter.name])


@dataclass
class Context:
    """What a method is given besides the model and the loaders; undeclared parts raise.

    Args:
        seed: Root seed of this run.
        reads: What the method declared.
        task: Of the labels.
        _recipe, _fresh_model, _training_log, _cached, _pool: Values of the properties without the underscore, which
            check that the method declared them.
        state: File an interrupted run resumes from; None = not resumable.
        progress: Called with (epochs done, total epochs).
        key: What an interrupted run and the one that resumes it must have in common.
        samples: The loaders, whose counters are resumed; None = not counted.
        log: What the trace will report.
    """

    seed: int
    reads: frozenset[str]
    task: Task
    _recipe: Recipe
    _fresh_model: Callable[[int], NetModule]
    _training_log: Any = None
    _cached: OutputTable | None = None
    _pool: PoolTargets | None = None
    state: Path | None = None
    progress: Callable[[int, int], None] | None = None
    key: str = ""
    samples: GuardedLoaders | None = None
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        # Losses and the first gradient wait on the device until they are read.
        self._losses: StepValues[tuple[int, int]] = StepValues(_told)
        self._first_gradient: Tensor | None = None

    def _require(self, part: str) -> None:
        """Refuse a part that the method did not declare."""
        if part not in self.reads:
            raise MethodError(
                Fault(
                    f"the method uses the {part} without declaring it", do=f"Add {part!r} to reads."
                )
            )

    @property
    def recipe(self) -> Recipe:
        """How the original was trained."""
        self._require("recipe")
        return self._recipe

    @property
    def fresh_seed(self) -> int:
        """Seed of weights that start afresh; never the original's own, which may have been made with this root seed."""
        return derive(self.seed, "unlearn", "afresh")

    def fresh_model(self, seed: int) -> NetModule:
        """A freshly initialised model of the original's architecture."""
        self._require("fresh model")
        return self._fresh_model(seed)

    @property
    def training_log(self) -> Any:
        """What the method's recorder kept during the original's training."""
        self._require("training log")
        return self._training_log

    def keep_log(self, log: Any) -> None:
        """Pass on the log without the forgotten patients, for the next request; the present log is never changed."""
        self._require("training log")
        self._training_log = log

    @property
    def cached(self) -> OutputTable | None:
        """The original's cached outputs for the declared sets, if the run was given them; see `outputs_of`."""
        self._require("teacher")
        return self._cached

    @property
    def pool(self) -> PoolTargets:
        """What models of a standing pool that never saw a patient say of the forgotten and of the retained.

        Raises:
            MethodError: The run was given no pool.
        """
        self._require("pool")
        if self._pool is None:
            raise MethodError(
                Fault(
                    "the method learns from a standing pool, and the run was given none",
                    do="Make one with forgetmi pool make --targets 1, and name it with --targets of run or withdraw.",
                )
            )
        return self._pool

    @property
    def facts(self) -> dict[str, Any]:
        """What the method reports beyond losses, by name, for the trace: plain values."""
        return self.log.facts

    def epochs(self, total: int, **state: Any) -> Iterator[int]:
        """Epoch numbers 0..total-1; saves after each, and resumes where an interrupted run stopped.

        The global generators (dropout) are set for each epoch from the seed and its number.

        Args:
            total: Number of epochs, >= 0.
            state: Everything that changes and has ``state_dict``: student, optimiser, own counters.
        """
        # Everything that an interrupted run restores.
        parts = {**state, "log": self.log}
        if self.samples is not None:
            parts["samples"] = self.samples

        loop = EpochLoop(
            total, state=parts, file=self.state, key=self.key, seed=self.seed, stage="unlearn"
        )
        logger.info("unlearning begun: %d epochs", total)

        # Closed even where the method leaves its loop early.
        with closing(iter(loop)) as numbers:
            for epoch in numbers:
                yield epoch
                self.read_steps()
                self._log_epoch(epoch + 1, total)
                if self.progress is not None:
                    self.progress(epoch + 1, total)

        logger.info("unlearning finished: %d optimiser steps", self.log.steps)

    def _log_epoch(self, done: int, total: int) -> None:
        """Log an epoch's mean losses, where the method reports them."""
        losses = self.log.epochs[-1] if self.log.epochs else {}
        log_epoch(logger, "unlearning", done, total, losses)

    def train(
        self,
        model: NetModule,
        loader: GuardedLoader,
        *,
        recipe: Recipe | None = None,
        seed: int | None = None,
        rows: Ints | None = None,
        objective: Objective | None = None,
        moments: Mapping[str, Any] | None = None,
        observers: Sequence[Recorder] = (),
        resumable: bool = True,
    ) -> NetModule:
        """Train a model in place on a set; counts as this method's steps and samples.

        Args:
            model: Trained in place.
            loader: The set.
            recipe: How; the original's recipe by default.
            seed: Of order and dropout; the run's by default.
            rows: Rows of the set, sorted; None = all.
            objective, moments, observers: See `forgetmi.model.train.fit`.
            resumable: Whether it saves and reports its progress; a method may do so in one training, its last but for
                short ones, which are then done again.
        """
        # The original's recipe and the run's seed, unless others are given.
        recipe = recipe or self.recipe
        seed = self.seed if seed is None else seed

        # What a carrier holds still is computed once for each sample.
        prefixes = {}
        if model.execution.still == "layers":
            read = loader.batches(loader.rows if rows is None else rows)
            prefixes = training_prefixes(model, read, recipe)

        with executing(model, prefixes=prefixes or model.execution.prefixes):
            trace = fit(
                model,
                loader.for_training(recipe.batch_size, rows=rows, seed=seed),
                recipe,
                seed=seed,
                task=self.task,
                resume=self.state if resumable else None,
                progress=self.progress if resumable else None,
                objective=objective,
                moments=moments,
                observers=observers,
            )
        self.count(trace, loader, heads=model.heads)
        return model

    def count(self, trace: TrainingTrace, loader: GuardedLoader, *, heads: Iterable[str]) -> None:
        """Add a training's losses, steps and samples to this method's own."""
        names = base_loss_names(heads)
        for epoch in trace.epochs:
            # A loss that was not computed counts as 0.
            losses = {name: float(epoch[name] or 0.0) for name in names}
            self.log.epochs.append(losses)

        # Counted as the method's own.
        self.log.steps += int(trace.total("steps"))
        loader.seen += int(trace.total("samples"))

    def step(
        self,
        loss: Tensor,
        optimiser: torch.optim.Optimizer,
        *,
        clip: float = 0.0,
    ) -> None:
        """One optimiser step: backward, clip, step; the first loss that is not a number stops the method.

        On an accelerator nothing waits for the step: it is told some steps later, see `StepValues`.

        Args:
            loss: Scalar to be minimised.
            optimiser: Over the parameters that may move.
            clip: Largest gradient norm; 0 = no clipping.

        Raises:
            MethodError: The loss of this step, or of one before, is not finite.
        """
        self._losses.add((self.log.steps, len(self.log.epochs)), loss.detach().reshape(1))

        # Backward pass.
        optimiser.zero_grad(set_to_none=True)
        loss.backward()

        # With an infinite limit nothing is clipped, but the norm is still measured.
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        limit = clip if clip > 0 else float("inf")
        norm = nn.utils.clip_grad_norm_(parameters, limit)
        self.gradient(norm)

        optimiser.step()
        self.log.steps += 1

    def gradient(self, norm: Tensor) -> None:
        """Note the norm of a step's gradient, a scalar; that of the first one is kept for the trace."""
        if self.log.first_gradient is None and self._first_gradient is None:
            self._first_gradient = norm.detach()

    def read_steps(self) -> None:
        """Read what steps left on the device; due at the end of each epoch and of the method.

        Raises:
            MethodError: A loss was not finite.
        """
        self._losses.read()
        if self._first_gradient is not None:
            self.log.first_gradient = float(self._first_gradient)
            self._first_gradient = None


def _told(step: tuple[int, int], values: list[float]) -> None:
    """Log the loss of a step, or stop where it is not finite.

    Args:
        step: Its number and that of its epoch.
        values: Its loss.

    Raises:
        MethodError: The loss is not finite.
    """
    (number, epoch), (loss,) = step, values
    if not math.isfinite(loss):
        raise MethodError(
            Fault(
                f"the loss became {loss} at step {number}",
                where=f"epoch {epoch}",
                do="Use a smaller learning rate.",
            )
        )

    if logger.isEnabledFor(STEP):
        log_step(logger, "unlearning", number + 1, {"loss": loss})
