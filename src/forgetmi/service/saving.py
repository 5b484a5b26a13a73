"""Write a model that was trained in a program as a checkpoint, with who it has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.cohort.model_patients import ModelPatients, patients_of
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.net_module import NetModule
from forgetmi.run.prepared import Prepared, trained_rows


def save(
    path: str | Path,
    model: NetModule | Ensemble,
    *,
    prepared: Prepared,
    partition: Partition | None,
    without_forgotten: bool,
    **extra: Any,
) -> str:
    """Write a model that was trained or unlearned in a program as a checkpoint; `forgetmi.load` reads it.

    Every command takes it as it takes one of its own. It names the patients it has seen by keyed digests, so that
    nobody whom it was trained on is called never seen later.

    Args:
        path: Its folder; an earlier checkpoint there is replaced, other files are not.
        model: What `forgetmi.train` or `forgetmi.unlearn` returned.
        prepared: What it was trained on.
        partition: Who was in which set; None = nobody knows, and no verdict will be possible without a list.
        without_forgotten: Whether it has forgotten the forget set, or was trained without it. A wrong answer here makes
            every later statement about these patients wrong.
        extra: Anything else worth keeping, plain JSON values.

    Returns:
        Digest of the weights.

    Raises:
        CheckpointError: The parts do not fit together, or the folder holds other files.

    Examples:
        >>> digest = save(
        ...     f"{folder}/model", original, prepared=data, partition=sets, without_forgotten=False
        ... )
        >>> len(digest)
        64
    """
    patients = None
    if partition is not None:
        patients = _patients(prepared, partition, without_forgotten=without_forgotten)
    role = UNLEARNED if without_forgotten else ORIGINAL
    return prepared.save(Path(path), model, patients=patients, **{"role": role, **extra})


def _patients(
    prepared: Prepared, partition: Partition, *, without_forgotten: bool
) -> ModelPatients | None:
    """Who such a model has seen."""
    if partition.unproved:
        return None

    nobody = np.empty(0, np.int64)
    return patients_of(
        prepared.cohort,
        partition,
        trained=trained_rows(partition, without_forgotten=without_forgotten),
        forgotten=partition.forget if without_forgotten else nobody,
    )
