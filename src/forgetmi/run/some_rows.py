"""Models that are trained on some of the patients alone, as references of audits: shadow models, members of a pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from forgetmi.cohort.model_patients import patients_of
from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.jobs.pool import ProgressCallback
from forgetmi.run import workflow
from forgetmi.run.device import device_of
from forgetmi.run.prepared import Prepared, trained_rows
from forgetmi.run.spec import RunSpec


def on_rows(partition: Partition, rows: Ints, *, forgotten: Ints) -> Partition:
    """A training side of these rows alone; validation as it was, nobody is held out.

    Args:
        partition: The sets of everybody.
        rows: Rows to train on, in the order of the cohort.
        forgotten: Codes of the patients among them who are forgotten later, at least one.
    """
    is_forgotten = np.isin(partition.patient[rows], forgotten)
    nobody = np.empty(0, np.int64)

    # Groups were kept together when sides were drawn; a training reads none
    return replace(
        partition,
        group=partition.patient,
        forget=rows[is_forgotten],
        retain=rows[~is_forgotten],
        holdout=nobody,
        reference=nobody,
        earlier=nobody,
    )


def train_on_rows(
    directory: Path,
    *,
    spec: RunSpec,
    cohort: Cohort,
    sets: Partition,
    prepared: Prepared,
    role: str,
    seed: int,
    state: Path,
    progress: ProgressCallback,
) -> str:
    """Train a model on the training side of some sets, and store it.

    Args:
        directory: Where; the checkpoint appears whole.
        spec: Whose recipe and device are used.
        cohort: The cohort.
        sets: See `on_rows`; the forgotten are trained on, too.
        prepared: The cohort as the original's was prepared.
        role: What the model is, for its checkpoint.
        seed: Root seed of the training.
        state: Where an interrupted training goes on from.
        progress: Called with (done, total).

    Returns:
        Digest of the weights.
    """
    model, _ = workflow.train(
        prepared=prepared,
        partition=sets,
        recipe=spec.training,
        seed=seed,
        resume=state,
        progress=progress,
        device=device_of(spec),
    )
    seen = patients_of(cohort, sets, trained=trained_rows(sets), forgotten=np.empty(0, np.int64))
    return prepared.save(directory, model, patients=seen, role=role, seed=seed)


def save_for_audit(signals: Signals, path: Path) -> None:
    """Store signals without the joint embedding: no attack reads that of such a model."""
    signals.replaced(joint_embedding=None).save(path)
