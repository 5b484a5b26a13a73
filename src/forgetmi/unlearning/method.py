"""The contract of an unlearning method, and the one driver that runs it and records its trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from torch import nn

from forgetmi.core.carrier import FULL, Carrier
from forgetmi.core.cost import Cost, Meter
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.partition import Partition, SetName
from forgetmi.core.signals import Signals
from forgetmi.data.loaders import SampleStore
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.executing import micro_batches
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.unlearning.adapter_files import Adapters
from forgetmi.unlearning.applies import check_applies
from forgetmi.unlearning.bfloat16 import lower, lowered, restore
from forgetmi.unlearning.carried import Carried
from forgetmi.unlearning.carrier_applies import check_carrier
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.differences import changed_tensors, distance_moved, of_heads
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.pool_targets import PoolTargets
from forgetmi.unlearning.teacher import OutputTable, check, table_from_signals

M = TypeVar("M", bound=nn.Module)
# All sets that a method can see.
VISIBLE: tuple[SetName, ...] = ("forget", "retain", "validation")
# Name of the fact that counts micro-batches.
SHARES = "shares of a batch"
# Samples by which signals are checked; all where there are fewer.
CHECKED = 8


@dataclass(frozen=True)
class Trace:
    """What a method did: losses, steps, samples and cost.

    Args:
        method, options, seed: Title, hyper-parameters and root seed.
        epochs: Mean of each loss term, per epoch.
        steps: Optimiser steps.
        samples: Samples read from each declared set, also those on which only the original was run.
        cost: Wall seconds, CPU seconds, peak memory; calibration and caching of the teacher's outputs included.
        changed: Names of the tensors that differ from the original's.
        changed_heads: Those among them that belong to a head.
        first_gradient: Norm of the first step's gradient (0 = the method cannot start), None without steps.
        moved: Euclidean distance between all parameters and the original's.
        facts: What the method reports beyond losses (e.g. the calibrated noise); also the number of micro-batches a
            batch, and whether the original's outputs were read from its signals, where either is so.
    """

    method: str
    options: dict[str, Any]
    seed: int
    epochs: tuple[dict[str, float], ...]
    steps: int
    samples: dict[str, int]
    cost: Cost
    changed: tuple[str, ...]
    changed_heads: tuple[str, ...]
    first_gradient: float | None
    moved: float
    facts: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Unlearned(Generic[M]):
    """A new model, the trace of its making, and what else came of it.

    Args:
        model: With its adapters merged, where it has had some.
        trace: What was done.
        training_log: What the next request needs, if there is anything.
        adapters: By themselves, where the carrier has some.
    """

    model: M
    trace: Trace
    training_log: Any = None
    adapters: Adapters | None = None


class Method(Protocol[M]):
    """An unlearning method: a frozen dataclass of hyper-parameters with `info` and `apply`.

    Nearly all work on a `NetModule`; one that trains its own original (an ensemble) works on its own kind of model.
    """

    info: ClassVar[MethodInfo]

    # What it needs of a model; see `forgetmi.unlearning.applies`. A class that does not say needs nothing.
    # needs: ClassVar[frozenset[Need]]

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
    fresh_model: Callable[[int], NetModule],
    task: str = "grades",
    batch_size: int = 16,
    training_log: Any = None,
    original: Signals | None = None,
    pool: PoolTargets | None = None,
    carrier: Carrier = FULL,
    untouched: Collection[str] = (),
    state: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Unlearned[M]:
    """Run one method and record its trace.

    Args:
        method: The method with its hyper-parameters.
        model: The original; unchanged on return.
        records: Images and tokens of the cohort.
        partition: Only its forget, retain and validation rows reach the method.
        seed: Root seed of this run.
        recipe, fresh_model: How the original was made, for methods that retrain. With ``recipe.bf16`` the forward
            passes of methods with epochs of their own (see `MethodInfo`) run in bfloat16; see
            `forgetmi.unlearning.bfloat16`.
        task: Name of the cohort's task.
        batch_size: Samples of each set a step.
        training_log: What the method's recorder kept, if it has one.
        original: The original's signals for every row of the declared sets, if there are any; see `original_table`.
        pool: What a standing pool says of forgotten and retained patients, for a method that learns from it.
        carrier: What the method may move; see `forgetmi.core.carrier.Carrier`.
        untouched: Parts of the original that no training has moved ("tower:image"), for what the trace says is covered.
        state: File to save progress to and resume from.
        progress: Called with (epochs done, total epochs).

    Returns:
        The new model, in eval mode, the trace, the training log without the forgotten, and the adapters.

    Raises:
        MethodError: The method does not apply to the model or the carrier, moves what is not in the carrier, reads what
            it did not declare, diverges, or changed its input; ``original`` does not fit.
    """
    info = method.info
    net = model.member(0) if isinstance(model, Ensemble) else model
    if isinstance(net, NetModule):
        check_applies(method, net, training_task(task))
        check_carrier(method, net, carrier)
    bf16 = _in_bfloat16(method, recipe)
    before = parameter_digest(model)

    # The declared sets, and the original's outputs for them if its signals were given.
    loaders = GuardedLoaders(
        records,
        {name: partition.rows(name) for name in VISIBLE},
        patient=partition.patient,
        reads=info.reads,
        batch_size=batch_size,
        seed=seed,
        device=next(model.parameters()).device,
    )
    cached: OutputTable | None = None
    if original is not None:
        cached = original_table(
            original, method, model, records=records, partition=partition, recipe=recipe
        )

    # A run in bfloat16 or with cached outputs rounds otherwise: neither resumes the other kind.
    key = _key(method, seed, before, partition)
    if bf16:
        key += " bf16"
    if cached is not None:
        key += " known"
    if pool is not None:
        key += f" pool {pool.digest}"
    if carrier != FULL:
        key += f" {carrier}"

    # What the carrier does not name is held still, in the original's copies and in new models.
    work = Carried(method, model, carrier, fresh_model, seed=seed, untouched=untouched)
    given = before if work.start is model else parameter_digest(work.start)
    context = Context(
        seed=seed,
        reads=info.reads,
        task=training_task(task),
        _recipe=recipe,
        _fresh_model=lambda own_seed: lower(work.fresh(own_seed), on=bf16),
        _training_log=training_log,
        _cached=cached,
        _pool=pool,
        state=state,
        progress=progress,
        samples=loaders,
        key=key,
    )
    if cached is not None:
        context.facts["what the original says"] = "read from its signals"
    parts = micro_batches(model)
    if parts > 1:
        context.facts[SHARES] = parts

    with Meter(next(model.parameters()).device) as meter, lowered(work.start, on=bf16):
        result = restore(method.apply(work.start, loaders, context).eval())
        context.read_steps()

    # A resumed run has the facts of the interrupted one.
    if context.facts.get(SHARES, 1) != parts:
        context.facts[SHARES] = "another number after an interruption"
    if parameter_digest(work.start) != given:
        raise MethodError(
            Fault(f"{info.title} changed the model it was given", do="Work on a deep copy.")
        )

    # Only what the carrier names may have moved: a copy alone can be compared with what it was made of.
    adapters = work.finish(result)
    context.facts.update(work.facts)
    changed = changed_tensors(model, result)
    trace = Trace(
        method=info.title,
        options=asdict(method),  # type: ignore[call-overload]
        seed=seed,
        epochs=tuple(context.log.epochs),
        steps=context.log.steps,
        samples=loaders.seen(),
        cost=meter.cost,
        changed=changed,
        changed_heads=of_heads(model, changed),
        first_gradient=context.log.first_gradient,
        moved=distance_moved(model, result),
        facts=dict(context.facts),
    )
    return Unlearned(result, trace, context._training_log, adapters)


def original_table(
    signals: Signals,
    method: Method[Any],
    model: nn.Module,
    *,
    records: SampleStore,
    partition: Partition,
    recipe: Recipe,
) -> OutputTable:
    """The original's outputs for the sets that a method declares, so that they need not be computed again.

    Use it before a run writes anything, to refuse signals that do not fit; `unlearn` does so itself, too. The result
    differs by rounding from one for which the original is run. On a few samples it is run all the same, because the
    digest of a cohort does not depend on its pixels.

    Args:
        signals: The original's outputs for the cohort; nothing about rows of other sets is used.
        method: The method.
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

    # The rows that the method may read, and no others.
    declared = [partition.rows(name) for name in VISIBLE if name in method.info.reads]
    rows = np.sort(np.concatenate(declared))
    device = next(model.parameters()).device
    table = table_from_signals(
        signals,
        rows,
        weights=parameter_digest(model),
        cohort=partition.cohort,
        device=device,
        scale=records.scale,
    )

    # A few samples, evenly spread over the rows.
    positions = np.unique(np.linspace(0, len(rows) - 1, CHECKED).astype(int))
    batch = records.batch(rows[positions]).to(device)
    check(table, model, batch)
    return table


def _in_bfloat16(method: Method[Any], recipe: Recipe) -> bool:
    """Whether the method's forward passes run in bfloat16: as the recipe does, where it has epochs of its own."""
    return recipe.bf16 and method.info.own_epochs


def _key(method: Method, seed: int, weights: str, partition: Partition) -> str:
    """What an interrupted run and the one that resumes it must have in common."""
    # The method with its options, the seed, the original and the sets.
    digest = hashlib.sha256(
        f"{type(method).__qualname__} {method!r} {seed} {weights} {partition.cohort}".encode()
    )
    for name in VISIBLE:
        digest.update(partition.rows(name).tobytes() + b"|")
    return digest.hexdigest()
