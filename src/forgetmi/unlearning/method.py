"""The contract of an unlearning method, what it is given, and the one driver that runs it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from forgetmi.core.cost import Cost, Meter
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.partition import Partition, SetName
from forgetmi.core.signals import Signals
from forgetmi.data.loaders import SampleStore
from forgetmi.model.image_text import ImageText, micro_batches, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.unlearning.bfloat16 import lower, lowered, restore
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.teacher import Table, check, table_from_signals

M = TypeVar("M", bound=nn.Module)
VISIBLE: tuple[SetName, ...] = ("forget", "retain", "validation")  # all that a method can see
SHARES = "shares of a batch"
CHECKED = 8  # samples by which signals are checked, or all where there are fewer


@dataclass(frozen=True)
class Trace:
    """What a method did.

    Args:
        method, options, seed: Which method, with which hyper-parameters.
        epochs: Mean of each loss term, per epoch.
        steps: Optimiser steps.
        samples: Samples read from each declared set (also those that the original alone was asked about).
        cost: Seconds, CPU seconds, peak memory; calibration and teacher caching included.
        changed: Names of the tensors that differ from the original's.
        first_gradient: Norm of the first step's gradient (0 = the method cannot start), None without steps.
        moved: Euclidean distance of all parameters from the original's.
        facts: What the method found out (e.g. the calibrated noise); and the shares its batches were computed in and
            whether signals of the original were read, where that was so.
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


class Method(Protocol[M]):
    """An unlearning method: a frozen dataclass of hyper-parameters with `info` and `apply`.

    Nearly all work on an `ImageText`; one that trains its own original (an ensemble) works on its own kind of model.
    """

    info: ClassVar[MethodInfo]

    def apply(self, model: M, loaders: GuardedLoaders, context: Context) -> M:
        """A new model; the one given is never changed and shares no storage with it."""
        ...


def unlearn(
    method: Method[M],
    model: M,
    *,
    records: SampleStore,
    partition: Partition,
    seed: int,
    recipe: Recipe,
    fresh_model: Callable[[int], ImageText],
    ordinal: bool = True,
    batch_size: int = 16,
    training_log: Any = None,
    original: Signals | None = None,
    state: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Unlearned[M]:
    """Run one method and write down what it did.

    Args:
        method: The method with its hyper-parameters.
        model: The original; unchanged on return.
        records: Images and tokens of the cohort.
        partition: Only its forget, retain and validation rows reach the method.
        seed: Root seed of this run.
        recipe, fresh_model: How the original was made, for methods that retrain. With ``recipe.bf16`` the forward
            passes of methods with epochs of their own run in bfloat16; see `forgetmi.unlearning.bfloat16`.
        ordinal: Whether the classes are grades.
        batch_size: Samples of each set a step.
        training_log: What the method's recorder kept, if it has one.
        original: What the original says of every row of the declared sets, if it is at hand; see `original_table`.
        state: File to save progress to and resume from.
        progress: Called with (epochs done, epochs in all).

    Returns:
        The new model, in eval mode, the trace, and the training log without the forgotten.

    Raises:
        MethodError: The method reads what it did not declare, diverges, or changed its input; ``original`` does not
            fit.
    """
    info, bf16 = method.info, _in_bfloat16(method, recipe)
    before = parameter_digest(model)
    loaders = GuardedLoaders(
        records,
        {name: partition.rows(name) for name in VISIBLE},
        patient=partition.patient,
        reads=info.reads,
        batch_size=batch_size,
        seed=seed,
        device=next(model.parameters()).device,
    )
    cached = (
        None
        if original is None
        else original_table(
            original, method, model, records=records, partition=partition, recipe=recipe
        )
    )
    context = Context(
        seed=seed,
        reads=info.reads,
        ordinal=ordinal,
        _recipe=recipe,
        _fresh_model=lambda own: lower(fresh_model(own), on=bf16),
        _training_log=training_log,
        _cached=cached,
        state=state,
        progress=progress,
        samples=loaders,
        key=_key(method, seed, before, partition)
        + " bf16" * bf16
        + " known" * (cached is not None),
    )
    if cached is not None:
        context.facts["what the original says"] = "read from its signals"
    parts = micro_batches(model)
    if parts > 1:
        context.facts[SHARES] = parts
    with Meter() as meter, lowered(model, on=bf16):
        result = restore(method.apply(model, loaders, context).eval())
    if context.facts.get(SHARES, 1) != parts:  # an interrupted run brought its own facts back
        context.facts[SHARES] = "another number after an interruption"
    if parameter_digest(model) != before:
        raise MethodError(
            Fault(f"{info.title} changed the model it was given", do="Work on a deep copy.")
        )
    old, new = model.state_dict(), result.state_dict()
    moved = sum(
        float((new[name] - old[name]).double().square().sum())
        for name, _ in model.named_parameters()
    )
    return Unlearned(
        result,
        Trace(
            method=info.title,
            options=asdict(method),  # type: ignore[call-overload]
            seed=seed,
            epochs=tuple(context.log.epochs),
            steps=context.log.steps,
            samples=loaders.seen(),
            cost=meter.cost,
            changed=tuple(name for name in old if not torch.equal(old[name], new[name])),
            first_gradient=context.log.first_gradient,
            moved=moved**0.5,
            facts=dict(context.facts),
        ),
        context._training_log,
    )


def original_table(
    signals: Signals,
    method: Method[Any],
    model: nn.Module,
    *,
    records: SampleStore,
    partition: Partition,
    recipe: Recipe,
) -> Table:
    """What the original said of the sets a method declares, so that it is not asked again about samples as they are.

    Use it before a run writes anything, to refuse signals that do not fit; `unlearn` does so itself, too. The result
    differs by rounding from one for which the original is asked. A few samples are asked about, because the digest of a
    cohort does not depend on its pixels.

    Args:
        signals: What the original said when it was evaluated; nothing about rows of other sets is kept.
        method: Which method.
        model: The original, in eval mode.
        records, partition, recipe: As for `unlearn`.

    Raises:
        MethodError: The method does not read signals, the run is in bfloat16, or the signals are damaged, lack rows, or
            are of another model, cohort or images.
    """
    if not method.info.reads_signals:
        raise MethodError(
            Fault(f"{method.info.title} does not read the original's signals", do="Leave them out.")
        )
    if _in_bfloat16(method, recipe):
        raise MethodError(
            Fault(
                "the original's signals do not fit",
                why="they are float32 and the run is bfloat16",
                do="Leave them out.",
            )
        )
    rows = np.sort(
        np.concatenate([partition.rows(name) for name in VISIBLE if name in method.info.reads])
    )
    device = next(model.parameters()).device
    table = table_from_signals(
        signals, rows, weights=parameter_digest(model), cohort=partition.cohort, device=device
    )
    some = rows[np.unique(np.linspace(0, len(rows) - 1, CHECKED).astype(int))]
    check(table, model, records.batch(some).to(device))
    return table


def _in_bfloat16(method: Method[Any], recipe: Recipe) -> bool:
    """Whether the method's forward passes run in bfloat16: as the recipe does, where it trains by epochs of its own."""
    return recipe.bf16 and method.info.own_epochs


def _key(method: Method, seed: int, weights: str, partition: Partition) -> str:
    """What an interrupted run must share with the one that resumes it."""
    digest = hashlib.sha256(
        f"{type(method).__qualname__} {method!r} {seed} {weights} {partition.cohort}".encode()
    )
    for name in ("forget", "retain", "validation"):
        digest.update(partition.rows(name).tobytes() + b"|")
    return digest.hexdigest()
