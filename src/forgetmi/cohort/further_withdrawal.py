"""The partition of a further withdrawal from a model that has forgotten others before."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.partition import Partition


def further_withdrawal(earlier: Partition, request: ForgetRequest, *, cohort: Cohort) -> Partition:
    """Forget more patients, and keep everything else of an earlier partition as it was.

    Drawn anew, the held-out patients would be others, among them some that the model was trained on; and those
    forgotten before would count as retained, and be trained on again.

    Args:
        earlier: The partition that the model in service was made with.
        request: Who withdraws now.
        cohort: The same cohort.

    Returns:
        A partition whose forget rows are the earlier ones (its `earlier`) and those of this request.

    Raises:
        PartitionError: The request names nobody new, somebody who was never trained on, or everybody retained.
    """
    # Rows of this request, without those that were forgotten before
    of_patients = np.isin(cohort.patient, list(request.patients))
    of_studies = np.isin(cohort.study, list(request.studies))
    requested = np.flatnonzero(of_patients | of_studies)
    new = np.setdiff1d(requested, earlier.forget)

    # Only what was retained until now can be forgotten
    never_trained = np.setdiff1d(new, earlier.retain)
    faults = _faults(new, list(dict.fromkeys(cohort.patient[never_trained].tolist())))
    if faults:
        raise PartitionError(faults)

    # Only forget and retain change
    return Partition(
        forget=np.union1d(earlier.forget, new),
        retain=np.setdiff1d(earlier.retain, new),
        validation=earlier.validation,
        holdout=earlier.holdout,
        reference=earlier.reference,
        patient=earlier.patient,
        group=earlier.group,
        cohort=earlier.cohort,
        whole_patients=earlier.whole_patients and not request.studies,
        earlier=earlier.forget,
        notes=(
            *request.notices,
            "validation, holdout and reference: as in the run before",
            f"forget: {_counted(earlier, new)}, as requested now; "
            f"{_counted(earlier, earlier.forget)}, before",
        ),
    )


def _faults(new: Ints, never_trained: list[str]) -> list[Fault]:
    """Why the request cannot be carried out; `never_trained` are digests of patients."""
    faults = []
    if not len(new):
        faults.append(
            Fault(
                "everybody on the list is forgotten already",
                do="List only patients who withdraw now.",
            )
        )

    # A model that never saw somebody has nothing to forget
    for digest in never_trained:
        faults.append(
            Fault(
                f"patient {digest} was never trained on",
                where="partition.forget_list",
                do="Take them off the list, since there is nothing to forget; close their request with a note.",
            )
        )
    return faults


def _counted(partition: Partition, rows: Ints) -> str:
    """Patients and images among rows, in words."""
    return f"{len(np.unique(partition.patient[rows]))} patients, {len(rows)} images"
