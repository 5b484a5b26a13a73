"""A digest of a cohort's rows that does not depend on their order, beside the cohort's own, which does."""

from __future__ import annotations

import hashlib

from forgetmi.core.cohort import Cohort

# In words, wherever a cohort is checked
ORDER_MATTERS = (
    "the order of rows matters: sets are drawn and models are trained by it. The same rows in another order give other "
    "sets, other weights and another content digest, and cannot go on with a run"
)


def rows_digest(cohort: Cohort) -> str:
    """SHA-256 over the rows in whatever order: equal for two orders of the same rows read with the same key.

    Use it to tell another order (the cohort's own digest differs, this one does not) from other rows.

    Args:
        cohort: The cohort, n rows.

    Returns:
        64 hex digits.
    """
    columns = (
        cohort.patient,
        cohort.study,
        cohort.image_id,
        cohort.group,
        cohort.report,
        cohort.label,
        cohort.split,
        *(cohort.subgroups[name] for name in sorted(cohort.subgroups)),
    )
    if cohort.table is not None:
        columns += tuple(cohort.table.T)

    # Each row by itself, then all of them in the order of their digests
    rows = []
    for values in zip(*columns, strict=True):
        rows.append(hashlib.sha256(repr(tuple(map(str, values))).encode()).digest())
    return hashlib.sha256(b"".join(sorted(rows))).hexdigest()
