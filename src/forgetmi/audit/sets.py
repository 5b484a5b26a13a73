"""Which patients an audit judges, and with which it compares them: none forgotten earlier, no never-seen copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import NEVER_SEEN, Partition


@dataclass(frozen=True, eq=False)
class AuditedSets:
    """One forget set as an audit sees it.

    Args:
        partition: Of this request alone, and without never-seen patients who have a copy of something forgotten.
        copied: Those of its forget rows whose patient has a copy under a retained one.
        left_out: Digests of the never-seen patients left out.
        earlier: Patients whom earlier requests had forgotten.
    """

    partition: Partition
    copied: Ints
    left_out: tuple[str, ...]
    earlier: int

    def with_forget(self, *, copied: bool) -> Partition | None:
        """The same with only those forgotten patients who have a copy under a retained one, or only the others.

        Returns:
            None where there are no such patients.
        """
        rows = self.copied if copied else np.setdiff1d(self.partition.forget, self.copied)
        if not len(rows):
            return None
        return replace(self.partition, forget=rows)


def audited_sets(
    partition: Partition, duplicates: Sequence[NearDuplicate], *, names: Strings
) -> AuditedSets:
    """Leave out of a run's sets what would dilute an audit.

    Copies of what earlier requests had forgotten count like any other: a never-seen patient who has one was seen. They
    are no reason why a patient of this request would still be remembered; only a copy of that patient's own is.

    Args:
        partition: Of the run.
        duplicates: Near-duplicates of what is forgotten, as the run's search found them.
        names: Digest of each patient code.
    """
    # Patients of this request; those withdrawn earlier are in no set
    now = partition.of_request()
    name = names[partition.patient]

    # Forgotten patients whose copy stays in training, and never-seen ones who have a copy of something forgotten
    with_copy = [pair.patient for pair in duplicates if pair.stays_in_training]
    seen_names = [pair.other_patient for pair in duplicates if pair.other_set in NEVER_SEEN]
    copied = np.isin(name, with_copy)
    seen = np.isin(name, seen_names)

    # Never-seen sets without the latter
    never_seen = {}
    left_out: dict[str, None] = {}
    for on in NEVER_SEEN:
        rows = now.rows(on)
        never_seen[on] = rows[~seen[rows]]
        left_out |= dict.fromkeys(map(str, name[rows[seen[rows]]]))

    # Patients whom earlier requests had forgotten
    earlier = np.setdiff1d(partition.patient[partition.earlier], partition.patient[now.forget])
    return AuditedSets(
        partition=replace(now, **never_seen),
        copied=now.forget[copied[now.forget]],
        left_out=tuple(left_out),
        earlier=len(earlier),
    )
