"""What a run hands to a method besides the model and the loaders, and what it writes down meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.seeding import derive
from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop
from forgetmi.model.train import TrainingTrace, fit
from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
from forgetmi.unlearning.teacher import Table


@dataclass
class Log:
    """Counters, loss means and findings that grow while a method runs; an interrupted run takes them back."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    first_gradient: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        for f in fields(self):
            setattr(self, f.name, state[f.name])


@dataclass
class Context:
    """What a method is given besides the model and the loaders; undeclared parts raise.

    Args:
        seed: Root seed of this run.
        reads: What the method declared.
        ordinal: Whether the classes are grades.
        recipe, fresh_model, training_log, cached: Behind the properties of the same meaning.
        state: File an interrupted run resumes from; None = not resumable.
        progress: Called with (epochs done, epochs in all).
    """

    seed: int
    reads: frozenset[str]
    ordinal: bool
    _recipe: Recipe
    _fresh_model: Callable[[int], ImageText]
    _training_log: Any = None
    _cached: Table | None = None
    state: Path | None = None
    progress: Callable[[int, int], None] | None = None
    key: str = ""
    samples: GuardedLoaders | None = None
    log: Log = field(default_factory=Log)

    def _declared(self, what: str) -> None:
        if what not in self.reads:
            raise MethodError(
                Fault(
                    f"the method uses the {what} without declaring it", do=f"Add {what!r} to reads."
                )
            )

    @property
    def recipe(self) -> Recipe:
        """How the original was trained."""
        self._declared("recipe")
        return self._recipe

    @property
    def fresh_seed(self) -> int:
        """Seed of weights that start afresh; never the original's own, which may have been made with this root seed."""
        return derive(self.seed, "unlearn", "afresh")

    def fresh_model(self, seed: int) -> ImageText:
        """A freshly initialised model of the original's architecture."""
        self._declared("fresh model")
        return self._fresh_model(seed)

    @property
    def training_log(self) -> Any:
        """What the method's recorder kept during the original's training."""
        self._declared("training log")
        return self._training_log

    def keep_log(self, log: Any) -> None:
        """Hand on the log without the forgotten, for the next request; the log given is never changed."""
        self._declared("training log")
        self._training_log = log

    @property
    def cached(self) -> Table | None:
        """What the original said of the declared sets' samples, if that was handed to the run; see `outputs_of`."""
        self._declared("teacher")
        return self._cached

    @property
    def facts(self) -> dict[str, Any]:
        """What the method found out, by name, for the trace: plain values."""
        return self.log.facts

    def epochs(self, total: int, **state: Any) -> Iterator[int]:
        """Epoch numbers 0..total-1; saves after each, and goes on where an interrupted run stopped.

        The global generators (dropout) are set for each epoch from the seed and its number.

        Args:
            total: Number of epochs, >= 0.
            state: Everything that changes and has ``state_dict``: student, optimiser, own counters.
        """
        parts = {
            **state,
            "log": self.log,
            **({"samples": self.samples} if self.samples is not None else {}),
        }
        loop = EpochLoop(
            total, state=parts, file=self.state, key=self.key, seed=self.seed, stage="unlearn"
        )
        with closing(iter(loop)) as numbers:
            for epoch in numbers:
                yield epoch
                if self.progress is not None:
                    self.progress(epoch + 1, total)

    def train(
        self,
        model: ImageText,
        loader: GuardedLoader,
        *,
        recipe: Recipe | None = None,
        seed: int | None = None,
    ) -> ImageText:
        """Train a model in place on a set; counts as this method's steps and samples.

        Args:
            model: Trained in place.
            loader: The set.
            recipe: How; the original's recipe by default.
            seed: Of order and dropout; the run's by default.
        """
        recipe = recipe or self.recipe
        seed = self.seed if seed is None else seed
        done = fit(
            model,
            loader.for_training(recipe.batch_size, seed=seed),
            recipe,
            seed=seed,
            ordinal=self.ordinal,
            resume=self.state,
            progress=self.progress,
        )
        self.count(done, loader)
        return model

    def count(self, done: TrainingTrace, loader: GuardedLoader) -> None:
        """Add a training's losses, steps and samples to this method's own."""
        names = ("loss", "image", "text", "ranking")
        self.log.epochs.extend(
            {name: float(epoch[name] or 0.0) for name in names} for epoch in done.epochs
        )
        self.log.steps += int(done.total("steps"))
        loader.seen += int(done.total("samples"))

    def step(
        self,
        loss: Tensor,
        optimiser: torch.optim.Optimizer,
        *,
        clip: float = 0.0,
    ) -> None:
        """One optimiser step: backward, clip, step; stops at the first loss that is not a number.

        Args:
            loss: Scalar to be minimised.
            optimiser: Over the parameters that may move.
            clip: Largest gradient norm; 0 = no clipping.

        Raises:
            MethodError: The loss is not finite.
        """
        if not bool(torch.isfinite(loss)):
            raise MethodError(
                Fault(
                    f"the loss became {float(loss.detach())} at step {self.log.steps}",
                    where=f"epoch {len(self.log.epochs)}",
                    do="Use a smaller learning rate.",
                )
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, clip if clip > 0 else float("inf"))
        if self.log.first_gradient is None:
            self.log.first_gradient = float(norm)
        optimiser.step()
        self.log.steps += 1
