"""A partition: patients on one side only, and nobody can write to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forgetmi.core.errors import PartitionError
from forgetmi.core.partition import Partition


def part(**changes: Any) -> Partition:
    values: dict[str, Any] = {
        "forget": np.array([0, 1]),
        "retain": np.array([2, 3]),
        "validation": np.array([4]),
        "holdout": np.array([5]),
        "patient": np.array([0, 0, 1, 1, 2, 3]),
        "group": np.array([0, 0, 1, 1, 2, 3]),
        "cohort": "c",
    }
    return Partition(**{**values, **changes})


def test_a_partition_keeps_a_person_on_one_side() -> None:
    assert part().counts()["forget"] == {"images": 2, "patients": 1}
    with pytest.raises(PartitionError, match="patients are in both retain and holdout"):
        part(patient=np.array([0, 0, 1, 1, 2, 1]))
    with pytest.raises(PartitionError, match="patients are in both forget and retain"):
        part(patient=np.array([0, 0, 0, 1, 2, 3]))
    assert part(patient=np.array([0, 0, 0, 1, 2, 3]), group=np.arange(6), whole_patients=False)
    with pytest.raises(PartitionError, match="groups are in both forget and holdout"):
        part(group=np.array([0, 0, 1, 1, 2, 0]))
    assert part(group=np.array([0, 0, 0, 1, 2, 3]))  # one of a family may withdraw alone
    with pytest.raises(PartitionError, match="empty"):
        part(forget=np.array([], dtype=int))
    with pytest.raises(PartitionError, match="rows are in both"):
        part(validation=np.array([3, 4]))


def test_a_partition_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        part().forget[0] = 9
