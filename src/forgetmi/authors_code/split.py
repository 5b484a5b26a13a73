"""Which rows the authors' release forgets, retains, validates and tests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import CohortError, Fault

_COLUMNS = 5


@dataclass(frozen=True, eq=False)
class ReleaseSplit:
    """Sets as numbers of data rows of the split list (0 = the first row below the header).

    Args:
        forget: All rows of the listed patients, whatever their fold, in file order; their noisy copies are the
            release's "random" set.
        retain: All other rows that are not TEST, in file order; holds the validation rows, too.
        validation: Stratified share of retain, in the order drawn; the release never reads it.
        test: TEST rows of patients not listed, in file order.
        label: Severity of every row, -1 where it is not a number.
    """

    forget: Ints
    retain: Ints
    validation: Ints
    test: Ints
    label: Ints


def release_split(
    split_list: Path, forget_list: Path, *, validation_ratio: float = 0.1
) -> ReleaseSplit:
    """Split the release's list as its data_split does.

    Folds 1 to 5 play no part. `forgetmi.cohort.partition` is what everything else uses: its validation patients are
    nobody's training patients.

    Args:
        split_list: CSV: patient, study, image, severity (in its second spelling, too), fold.
        forget_list: CSV with a column ``subject_id``.
        validation_ratio: Share of the retain rows, above 0, below 1.

    Raises:
        CohortError: A file cannot be read, or a column is missing.

    Source: data_split of the Forget-MI release (arXiv 2506.23145): scikit-learn's train_test_split, random_state 42.
    """
    table, listed = _read(split_list), _read(forget_list)
    faults = []
    if table.shape[1] != _COLUMNS:
        faults.append(
            Fault(f"{table.shape[1]} columns, {_COLUMNS} expected", where=split_list.name)
        )
    if "subject_id" not in listed:
        faults.append(Fault("column 'subject_id' is missing", where=forget_list.name))
    if faults:
        raise CohortError(faults)

    # A header repeated within the list has no severity and is skipped.
    severity = np.asarray(pd.to_numeric(table.iloc[:, 3], errors="coerce"), np.float64)
    known = ~np.isnan(severity)
    label = np.where(known, severity, -1).astype(np.int64)

    # Patients on the forget list go whatever their fold; the others by the last column.
    forgotten = table.iloc[:, 0].isin(listed["subject_id"]).to_numpy()
    test = (table.iloc[:, -1] == "TEST").to_numpy()
    retain = np.flatnonzero(known & ~forgotten & ~test)

    # A stratified share, which stays among the retain rows.
    _, validation = train_test_split(
        retain, test_size=validation_ratio, random_state=42, stratify=label[retain]
    )

    return ReleaseSplit(
        np.flatnonzero(known & forgotten),
        retain,
        np.asarray(validation),
        np.flatnonzero(known & ~forgotten & test),
        label,
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise CohortError(
            Fault("the list cannot be read", where=path.name, why=type(error).__name__)
        ) from error
