"""Units of a draw: patients, or groups of linked patients, who can only be drawn as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.cohort.sampling import Flags, PatientSample, resembling_sample
from forgetmi.core.arrays import Ints, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.labels import strata


def linked_patients(patient: Ints, group: Ints) -> Ints:
    """Per row, the set of patients who are linked by groups, directly or through others.

    Args:
        patient, group: Codes of n rows, from 0.

    Returns:
        Int64[n], the number of the row's set of patients.
    """
    from scipy.sparse import coo_array  # imported late: SciPy takes long to load
    from scipy.sparse.csgraph import connected_components

    # A graph of patients and groups, with an edge for each row
    patients = int(patient.max(initial=-1)) + 1
    groups = int(group.max(initial=-1)) + 1
    edges = (np.ones(len(patient)), (patient, patients + group))
    links = coo_array(edges, shape=(patients + groups,) * 2)

    component = connected_components(links, directed=False)[1].astype(np.int64)
    return component[patient]


@dataclass(frozen=True, eq=False)
class Units:
    """The u units in some rows of a cohort, and what a draw compares of them; see `units_of`.

    Args:
        unit: Per row of the cohort, the number of its unit.
        pool: Per row of the cohort, whether it takes part.
        names: The unit numbers that occur in the pool, u.
        images: Images of each unit, u.
        patients: Patients of each unit, u.
        studies: Patients of each unit by number of studies, ascending, [u, s].
        labels: Images of each unit by class, or by `forgetmi.core.labels.strata`, [u, k]; an unknown label is in none.
    """

    unit: Ints
    pool: Flags
    names: Ints
    images: Ints
    patients: Ints
    studies: Ints
    labels: Ints

    def draw(
        self,
        size: Ints,
        share: float,
        generator: np.random.Generator,
        *,
        name: str,
        available: Flags | None = None,
    ) -> PatientSample:
        """Draw a share of the total size as whole units; see `resembling_sample`.

        Args:
            size: Int64[u], what the share is of: `images` or `patients`.
            share: The share, between 0 and 1.
            generator: The random stream.
            name: The set that is drawn, for messages.
            available: Bool[u], who may be drawn; default all.

        Raises:
            PartitionError: Fewer than two units may be drawn.
        """
        free = len(size) if available is None else available.sum()
        if free < 2:
            raise PartitionError(
                Fault(
                    f"no patients can be drawn for the {name} set",
                    why="fewer than two unlinked patients are left to draw from",
                    do="Use a larger cohort or smaller shares; holdout and validation may be 0.",
                )
            )
        return resembling_sample(
            size,
            self.studies,
            self.labels,
            target=share * int(size.sum()),
            generator=generator,
            available=available,
        )

    def rows(self, sample: PatientSample) -> Flags:
        """Per row of the cohort, whether its unit was drawn."""
        return self.pool & np.isin(self.unit, self.names[sample.units])


def units_of(cohort: Cohort, patient: Ints, unit: Ints, pool: Flags) -> Units:
    """Count images, patients, studies and labels of each unit in some rows of a cohort.

    Args:
        cohort: The cohort of n rows.
        patient: Int64[n], patient codes.
        unit: Int64[n], the row's unit.
        pool: Bool[n], the rows that take part; whole units only.
    """
    names, row_unit, images = np.unique(unit[pool], return_inverse=True, return_counts=True)
    units = len(names)

    # Patients in the pool: the first row and the unit of each
    _, first_row, row_patient = np.unique(patient[pool], return_index=True, return_inverse=True)
    patient_unit = row_unit[first_row]

    # Studies of each patient, then patients of each unit by their number of studies
    study = codes(cohort.study[pool])[0]
    study_patient = row_patient[np.unique(study, return_index=True)[1]]
    study_count = np.bincount(study_patient, minlength=len(first_row))
    column = np.unique(study_count, return_inverse=True)[1]
    studies = _crosstab(patient_unit, column, units)

    # Images of each unit by class, or what stands for one
    label = strata(cohort.label)[pool]
    labeled = label >= 0
    labels = _crosstab(row_unit[labeled], label[labeled], units)

    return Units(
        unit=unit,
        pool=pool,
        names=names,
        images=images,
        patients=studies.sum(axis=1),
        studies=studies,
        labels=labels,
    )


def _crosstab(row: Ints, column: Ints, rows: int) -> Ints:
    """How often each pair of row and column occurs; at least one column."""
    table = np.zeros((rows, int(column.max(initial=0)) + 1), np.int64)
    np.add.at(table, (row, column), 1)
    return table
