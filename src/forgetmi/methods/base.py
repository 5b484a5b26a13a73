"""The contract of an unlearning method, what it is given, and the one driver that runs it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from forgetmi.batch.loaders import Records
from forgetmi.cost import Cost, Meter
from forgetmi.errors import Fault, MethodError
from forgetmi.methods.access import Loaders, SetLoader
from forgetmi.methods.bfloat16 import lower, lowered, restore
from forgetmi.methods.original import OwnOriginal
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.resume import EpochLoop
from forgetmi.model.train import Recipe, TrainingTrace, fit
from forgetmi.seeding import derive
from forgetmi.types import Partition

Reads = Literal["forget", "retain", "validation", "labels", "teacher", "recipe", "fresh model", "training log"]
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class MethodInfo:
    """What a method is, for tables, help and reports.

    Args:
        title: Name as the field writes it.
        paper: Source, short: authors, venue, year, arXiv id.
        summary: One plain sentence a privacy officer can read.
        reads: What it may read; everything else raises. "teacher": what the original says of samples is a goal or a
            measure (not only where the student begins).
        exact: Whether the result never saw the forgotten patients (exact) or only approximates that.
        cost: Cost per epoch in fine-tune epochs (one forward and backward pass over the retain set), in words.
        suits: For whom it is the right choice, in words.
        deterministic: Whether the result is the same for every seed, but for rounding.
        search: Search space of `forgetmi.tune`: a few values of the options that matter most; none that the original's
            training depends on. Empty = there is nothing to tune.
        original: How the original must be trained, where its weights alone are not enough ("training log" in reads).
    """

    title: str
    paper: str
    summary: str
    reads: frozenset[Reads]
    exact: bool
    cost: str
    suits: str
    deterministic: bool = False
    search: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    original: OwnOriginal | None = None


@dataclass(frozen=True)
class Trace:
    """What a method did.

    Args:
        method, options, seed: Which method, with which hyper-parameters.
        epochs: Mean of each loss term, per epoch.
        steps: Optimiser steps.
        samples: Samples read from each declared set (forward passes of the teacher included).
        cost: Seconds, CPU seconds, peak memory; calibration and teacher caching included.
        changed: Names of the tensors that differ from the original's.
        first_gradient: Norm of the first step's gradient (0 = the method cannot start), None without steps.
        moved: Euclidean distance of all parameters from the original's.
        facts: What the method found out (e.g. the calibrated noise).
    """

    method: str
    options: dict[str, Any]
    seed: int
    epochs: tuple[dict[str, float], ...]
    steps: int
    samples: dict[str, int]
    cost: Cost
    changed: tuple[str, ...]
    first_gradient: float | None
    moved: float
    facts: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Unlearned(Generic[M]):
    """A new model, what was done to make it, and the training log that the next request needs (if there is one)."""

    model: M
    trace: Trace
    training_log: Any = None


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
        recipe, fresh_model, training_log: Behind the properties of the same meaning.
        state: File an interrupted run resumes from; None = not resumable.
        progress: Called with (epochs done, epochs in all).
    """

    seed: int
    reads: frozenset[str]
    ordinal: bool
    _recipe: Recipe
    _fresh_model: Callable[[int], ImageText]
    _training_log: Any = None
    state: Path | None = None
    progress: Callable[[int, int], None] | None = None
    key: str = ""
    samples: Loaders | None = None
    log: Log = field(default_factory=Log)

    def _declared(self, what: str) -> None:
        if what not in self.reads:
            raise MethodError(Fault(f"the method uses the {what} without declaring it", do=f"Add {what!r} to reads."))

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
        parts = {**state, "log": self.log, **({"samples": self.samples} if self.samples is not None else {})}
        loop = EpochLoop(total, state=parts, file=self.state, key=self.key, seed=self.seed, stage="unlearn")
        with closing(iter(loop)) as numbers:
            for epoch in numbers:
                yield epoch
                if self.progress is not None:
                    self.progress(epoch + 1, total)

    def train(
        self, model: ImageText, loader: SetLoader, *, recipe: Recipe | None = None, seed: int | None = None,
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
        done = fit(model, loader.for_training(recipe.batch_size, seed=seed), recipe, seed=seed, ordinal=self.ordinal,
                   resume=self.state, progress=self.progress)
        self.count(done, loader)
        return model

    def count(self, done: TrainingTrace, loader: SetLoader) -> None:
        """Add a training's losses, steps and samples to this method's own."""
        names = ("loss", "image", "text", "ranking")
        self.log.epochs.extend({name: float(epoch[name] or 0.0) for name in names} for epoch in done.epochs)
        self.log.steps += int(done.total("steps"))
        loader.seen += int(done.total("samples"))

    def step(
        self, loss: Tensor, optimiser: torch.optim.Optimizer, *, clip: float = 0.0,
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
            raise MethodError(Fault(
                f"the loss became {float(loss.detach())} at step {self.log.steps}",
                where=f"epoch {len(self.log.epochs)}", do="Use a smaller learning rate.",
            ))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, clip if clip > 0 else float("inf"))
        if self.log.first_gradient is None:
            self.log.first_gradient = float(norm)
        optimiser.step()
        self.log.steps += 1


class Method(Protocol[M]):
    """An unlearning method: a frozen dataclass of hyper-parameters with `info` and `apply`.

    Nearly all work on an `ImageText`; one that trains its own original (an ensemble) works on its own kind of model.
    """

    info: ClassVar[MethodInfo]

    def apply(self, model: M, loaders: Loaders, context: Context) -> M:
        """A new model; the one given is never changed and shares no storage with it."""
        ...


def unlearn(
    method: Method[M], model: M, *, records: Records, partition: Partition, seed: int, recipe: Recipe,
    fresh_model: Callable[[int], ImageText], ordinal: bool = True, batch_size: int = 16, training_log: Any = None,
    state: Path | None = None, progress: Callable[[int, int], None] | None = None,
) -> Unlearned[M]:
    """Run one method and write down what it did.

    Args:
        method: The method with its hyper-parameters.
        model: The original; unchanged on return.
        records: Images and tokens of the cohort.
        partition: Only its forget, retain and validation rows reach the method.
        seed: Root seed of this run.
        recipe, fresh_model: How the original was made, for methods that retrain. With ``recipe.bf16`` the forward
            passes of methods with epochs of their own run in bfloat16; see `forgetmi.methods.bfloat16`.
        ordinal: Whether the classes are grades.
        batch_size: Samples of each set a step.
        training_log: What the method's recorder kept, if it has one.
        state: File to save progress to and resume from.
        progress: Called with (epochs done, epochs in all).

    Returns:
        The new model, in eval mode, the trace, and the training log without the forgotten.

    Raises:
        MethodError: The method reads what it did not declare, diverges, or changed its input.
    """
    info = method.info
    before = parameter_digest(model)
    # A method without epochs of its own is a closed form, which would lose digits, or trains by `fit`, which knows.
    bf16 = recipe.bf16 and "epochs" in asdict(method)  # type: ignore[call-overload]
    loaders = Loaders(
        records, {name: partition.rows(name) for name in ("forget", "retain", "validation")},
        patient=partition.patient, reads=info.reads, batch_size=batch_size, seed=seed,
        device=next(model.parameters()).device,
    )
    context = Context(
        seed=seed, reads=info.reads, ordinal=ordinal, _recipe=recipe,
        _fresh_model=lambda own: lower(fresh_model(own), on=bf16), _training_log=training_log, state=state,
        progress=progress, samples=loaders, key=_key(method, seed, before, partition) + (" bf16" if bf16 else ""),
    )
    with Meter() as meter, lowered(model, on=bf16):
        result = restore(method.apply(model, loaders, context).eval())
    if parameter_digest(model) != before:
        raise MethodError(Fault(f"{info.title} changed the model it was given", do="Work on a deep copy."))
    old, new = model.state_dict(), result.state_dict()
    moved = sum(float((new[name] - old[name]).double().square().sum()) for name, _ in model.named_parameters())
    return Unlearned(result, Trace(
        method=info.title, options=asdict(method), seed=seed, epochs=tuple(context.log.epochs),  # type: ignore[call-overload]
        steps=context.log.steps, samples=loaders.seen(), cost=meter.cost,
        changed=tuple(name for name in old if not torch.equal(old[name], new[name])),
        first_gradient=context.log.first_gradient, moved=moved ** 0.5, facts=dict(context.facts),
    ), context._training_log)


def _key(method: Method, seed: int, weights: str, partition: Partition) -> str:
    """What an interrupted run must share with the one that resumes it."""
    digest = hashlib.sha256(f"{type(method).__qualname__} {method!r} {seed} {weights} {partition.cohort}".encode())
    for name in ("forget", "retain", "validation"):
        digest.update(partition.rows(name).tobytes() + b"|")
    return digest.hexdigest()
