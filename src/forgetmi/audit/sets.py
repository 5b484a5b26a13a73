"""Whom an audit judges and with whom it compares them: nobody forgotten earlier, no copies among the never-seen."""

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

    def asked(self, *, copied: bool) -> Partition | None:
        """The same with only those forgotten patients who have a copy under a retained one, or only the others."""
        rows = self.copied if copied else np.setdiff1d(self.partition.forget, self.copied)
        return replace(self.partition, forget=rows) if len(rows) else None


def audited_sets(
    partition: Partition, copies: Sequence[NearDuplicate], *, names: Strings
) -> AuditedSets:
    """Leave out of a run's sets what would water an audit down.

    Copies of what earlier requests had forgotten count like any other: a never-seen patient who has one was seen. They
    are no reason why a patient of this request would still be known; only a copy of that patient's own is.

    Args:
        partition: Of the run.
        copies: Near-duplicates of what is forgotten, as the run's scan found them.
        names: Digest of each patient code.
    """
    now, name = partition.of_request(), names[partition.patient]
    kept = np.isin(name, [copy.patient for copy in copies if copy.other_set == "retain"])
    seen = np.isin(name, [copy.other_patient for copy in copies if copy.other_set in NEVER_SEEN])
    strangers = np.concatenate([now.rows(on) for on in NEVER_SEEN])
    earlier = np.setdiff1d(partition.patient[partition.earlier], partition.patient[now.forget])
    return AuditedSets(
        partition=replace(now, **{on: now.rows(on)[~seen[now.rows(on)]] for on in NEVER_SEEN}),
        copied=now.forget[kept[now.forget]],
        earlier=len(earlier),
        left_out=tuple(map(str, dict.fromkeys(name[strangers[seen[strangers]]]))),
    )
