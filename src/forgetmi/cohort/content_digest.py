"""The digest of a cohort's content, which no key of identifiers changes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from forgetmi.cohort.measured_columns import Measured
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.core.arrays import Strings, codes

# Rows whose texts are joined at once
_ROWS_AT_ONCE = 4096


def content_digest(
    rows: RawRows,
    identifiers: Sequence[Strings],
    label: Any,
    split: Strings,
    classes: tuple[str, ...],
    task: str,
    measured: Measured,
) -> str:
    """SHA-256 over the cohort's content; of identifiers only which rows share one, so that no key matters.

    Args:
        rows: As they were read.
        identifiers: Those of patients, studies, images and groups, n each.
        label, split, classes, task, measured: Of the cohort.
    """
    # A cohort of grades or classes keeps the digest it had when a flag told the two apart
    kind = {"grades": True, "classes": False}.get(task, task)
    subgroups = sorted(rows.subgroups)
    content = hashlib.sha256(repr((classes, kind, subgroups)).encode())

    # Numbers: identifiers by their first appearance, and labels
    for identifier in identifiers:
        content.update(codes(identifier)[0].astype("<i8").tobytes())
    content.update(label.astype("<i8" if label.dtype.kind == "i" else "<f4").tobytes())

    # Texts, with their lengths so that no two columns can run together
    columns = [rows.report, split]
    if rows.image is not None:
        columns.append(rows.image)
    columns += [rows.subgroups[name] for name in subgroups]
    for column in columns:
        content.update(np.fromiter(map(len, column), "<i8", len(column)).tobytes())
        for start in range(0, len(column), _ROWS_AT_ONCE):
            content.update("".join(column[start : start + _ROWS_AT_ONCE]).encode())

    # What was measured, where something was
    if measured.values is not None:
        content.update(repr((measured.columns, measured.categorical)).encode())
        content.update(measured.values.astype("<f4").tobytes())
    return content.hexdigest()
