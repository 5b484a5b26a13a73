"""Unlearning from a stored original by a run's specification, wherever that is done: runs, trials, benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forgetmi.core.signals import Signals
from forgetmi.model.checkpoint import Loaded
from forgetmi.run import workflow
from forgetmi.run.device import device_of
from forgetmi.run.original_training import open_log
from forgetmi.run.prepared import Progress, open_checkpoint
from forgetmi.run.provenance import untouched_in
from forgetmi.run.run_data import OpenedRun
from forgetmi.run.spec import RunSpec
from forgetmi.unlearning.method import Unlearned
from forgetmi.unlearning.pool_targets import PoolTargets


def unlearn_from(
    directory: Path,
    spec: RunSpec,
    data: OpenedRun,
    *,
    loaded: Loaded | None = None,
    log_of: Path | None = None,
    seed: int | None = None,
    micro_batches: int = 1,
    signals: Signals | None = None,
    pool: PoolTargets | None = None,
    state: Path | None = None,
    progress: Progress | None = None,
) -> Unlearned[Any]:
    """Unlearn the forget set of a run from the model of a checkpoint, by the run's method and on its device.

    Args:
        directory: Checkpoint of the original.
        spec: The run: method, recipe, batch size, device.
        data: Its data, or others of the same kind.
        loaded: The same checkpoint where it has been read already; its gate may have been fitted since.
        log_of: Checkpoint next to which the training log lies; None = the same.
        seed: Root seed; None = the run's.
        micro_batches: Parts in which each batch is computed; see `forgetmi.run.workflow.unlearn`.
        signals: The original's signals for this cohort, if they are at hand; see `forgetmi.run.workflow.unlearn`.
        pool: What a standing pool says, for a method that learns from it.
        state: File to save progress to and resume from.
        progress: Called with (epochs done, total).

    Returns:
        The new model, its trace, and the training log for the next request where the method has one.

    Raises:
        CheckpointError: The checkpoint is damaged or of another kind than the data were prepared for.
        MethodError: The training log is missing, the method diverges, or the signals do not fit.
    """
    # The original, unless it is in memory
    if loaded is None:
        _, loaded = open_checkpoint(directory, cohort=data.cohort, like=data.prepared)

    # The log of its training, for the methods that read one
    training_log = open_log(log_of or directory, spec.method)
    device = device_of(spec)

    # On the run's device, by its method and recipe
    return workflow.unlearn(
        prepared=data.prepared,
        partition=data.partition,
        model=loaded.model.to(device),
        method=spec.method,
        recipe=spec.training,
        seed=spec.seed if seed is None else seed,
        batch_size=spec.batch_size,
        training_log=training_log,
        micro_batches=micro_batches,
        original=signals,
        pool=pool,
        carrier=spec.moves,
        untouched=untouched_in(loaded.extra),
        state=state,
        progress=progress,
        device=device,
    )
