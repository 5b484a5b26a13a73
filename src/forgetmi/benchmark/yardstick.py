"""The yardstick of every cost: what the cheapest exact retraining of equal quality took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from forgetmi.benchmark.grid import Cell, Point
from forgetmi.benchmark.settings import kind_of
from forgetmi.benchmark.store import Store
from forgetmi.core.arrays import Ints
from forgetmi.core.cost import busy_seconds
from forgetmi.core.labels import known
from forgetmi.core.model_names import SHORT_RETRAIN
from forgetmi.core.signals import Signals
from forgetmi.core.task import Task
from forgetmi.model.tasks.by_name import training_task
from forgetmi.run.run_data import open_run

# How much validation AUC a short retraining may lose against the original
LARGEST_AUC_LOSS = 0.01


@dataclass(frozen=True)
class Tried:
    """One exact retraining.

    Args:
        row: Its name, "retrain" for the recipe's own.
        seconds: What it took.
        auc_lost: Validation AUC of the original minus its own, averaged over heads.
    """

    row: str
    seconds: float
    auc_lost: float

    @property
    def good_enough(self) -> bool:
        """Whether it is about as good as the original; a better one is."""
        return self.auc_lost <= LARGEST_AUC_LOSS


def cheapest(store: Store, point: Point, *, device: str, retraining: float | None) -> Tried | None:
    """The cheapest exact retraining of a point whose validation AUC is within .01 of the original's.

    Validation patients alone decide. Where no short one is good enough, it is the retraining by the original's recipe.

    Args:
        store: Where the models lie.
        point: Forget set and training seed.
        device: On which they were made; see `forgetmi.core.cost.busy_seconds`.
        retraining: What one retraining by the recipe took; None = none was made.

    Returns:
        None where no short retraining was measured: nothing is guessed.
    """
    rows = {row: cells for row, cells in point.unlearned.items() if kind_of(row) == SHORT_RETRAIN}
    made = {row: _finished(store, cells) for row, cells in rows.items()}
    made = {row: cells for row, cells in made.items() if cells}
    if not made or not store.finished(point.original.digest):
        return None

    tried = _tried(store, point, made, device=device)
    enough = [one for one in tried if one.good_enough]
    if retraining is not None:
        enough.append(Tried("retrain", retraining, 0.0))
    return min(enough, key=lambda one: one.seconds, default=None)


def _tried(
    store: Store, point: Point, made: Mapping[str, Sequence[Cell]], *, device: str
) -> list[Tried]:
    """Each setting with its mean cost and mean loss of validation AUC; none where AUC is undefined."""
    data = open_run(point.spec)
    task = training_task(data.cohort.task)
    rows = data.partition.validation

    def auc(digest: str) -> float | None:
        return validation_auc(store.signals(digest), rows, task=task)

    original = auc(point.original.digest)
    tried: list[Tried] = []
    for row, cells in made.items():
        aucs = [auc(cell.digest) for cell in cells]
        if original is None or any(value is None for value in aucs):
            continue
        outcomes = [store.outcome(cell.digest) for cell in cells]
        seconds = [busy_seconds(one.cost, device) for one in outcomes if one is not None]
        loss = original - float(np.mean([value for value in aucs if value is not None]))
        tried.append(Tried(row, float(np.mean(seconds)), loss))
    return tried


def validation_auc(signals: Signals, rows: Ints, *, task: Task) -> float | None:
    """The AUC on some rows of known label, averaged over heads; None where one is undefined.

    A head is measured on the rows that have its modality.
    """
    chosen = signals.select(rows)
    values: list[float] = []
    for head, logits in chosen.logits.items():
        there = known(chosen.label) & chosen.there(head)
        label = torch.as_tensor(chosen.label[there])
        value = task.auc(torch.as_tensor(logits[there]), label)
        if value is None:
            return None
        values.append(value)
    return float(np.mean(values)) if values else None


def _finished(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if store.finished(cell.digest)]
