"""How a cohort is printed, for all subcommands of ``forgetmi cohort``."""

from __future__ import annotations

import numpy as np

from forgetmi.cohort.row_order import ORDER_MATTERS, rows_digest
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.labels import known
from forgetmi.core.printable import printable


def _columns(cohort: Cohort) -> list[str]:
    """Each measured column with its kind and how many rows lack it."""
    assert cohort.table is not None
    shown = []
    for name, values in zip(cohort.table_columns, cohort.table.T, strict=True):
        kind = "a number"
        if name in cohort.categorical:
            kind = f"{len(np.unique(values[~np.isnan(values)]))} categories"
        shown.append(f"{name} ({kind}, missing in {int(np.isnan(values).sum())} rows)")
    return shown


def describe(cohort: Cohort) -> str:
    """A cohort in a few lines, without anything about a single patient."""
    studies = len(codes(cohort.study)[1])
    patients = len(codes(cohort.patient)[1])

    # Shares of the classes among the labelled images.
    labels = cohort.label[known(cohort.label)]
    shares = [
        f"{name} {np.mean(labels == number):.0%}" for number, name in enumerate(cohort.classes)
    ]
    kind = "grades" if cohort.task == "grades" else "names"
    unknown = len(cohort) - len(labels)

    lines = [
        f"{cohort.name}: {len(cohort)} images, {studies} studies, {patients} patients",
        f"  classes ({kind}): {', '.join(shares)}; unknown: {unknown} images",
        f"  content digest {cohort.digest[:16]}; of the rows in any order {rows_digest(cohort)[:16]}",
        f"  {ORDER_MATTERS}",
    ]
    if cohort.table is not None:
        lines.append(f"  measured columns: {', '.join(_columns(cohort))}")
    lines += [f"  note: {notice}" for notice in cohort.notices]
    return "\n".join(map(printable, lines))
