"""The partition of a further withdrawal from a model that has forgotten others before."""

from __future__ import annotations

import numpy as np

from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.partition import Partition


def further_withdrawal(earlier: Partition, request: ForgetRequest, *, cohort: Cohort) -> Partition:
    """Forget more patients, and keep everything else of an earlier partition as it was.

    Drawn anew, the held-out patients would be others, among them some that the model was trained on; and those
    forgotten before would count as retained, and be trained on again.

    Args:
        earlier: The partition the model given now was made with.
        request: Who withdraws now.
        cohort: The same cohort.

    Returns:
        A partition whose forget rows are those of before (its `earlier`) and those asked for now.

    Raises:
        PartitionError: Nobody new is asked for, somebody was never trained on, or nobody would be retained.
    """
    asked = np.flatnonzero(
        np.isin(cohort.patient, list(request.patients))
        | np.isin(cohort.study, list(request.studies))
    )
    new = np.setdiff1d(asked, earlier.forget)
    faults = []
    if not len(new):
        faults.append(
            Fault("everybody on the list is forgotten already", do="List those who withdraw now.")
        )
    unseen = np.setdiff1d(new, earlier.retain)
    faults += [
        Fault(
            f"patient {digest} was never trained on",
            where="partition.forget_list",
            do="Take them off the list: there is nothing to forget; close a request with a note.",
        )
        for digest in dict.fromkeys(cohort.patient[unseen].tolist())
    ]
    if faults:
        raise PartitionError(faults)
    whole = earlier.whole_patients and not request.studies
    forget = np.union1d(earlier.forget, new)
    return Partition(
        forget=forget,
        retain=np.setdiff1d(earlier.retain, new),
        validation=earlier.validation,
        holdout=earlier.holdout,
        reference=earlier.reference,
        patient=earlier.patient,
        group=earlier.group,
        cohort=earlier.cohort,
        whole_patients=whole,
        earlier=earlier.forget,
        notes=(
            *request.notices,
            "validation, holdout and reference: as in the run before",
            f"forget: {len(np.unique(earlier.patient[new]))} patients, {len(new)} images, as requested now; "
            f"{len(np.unique(earlier.patient[earlier.forget]))} patients, {len(earlier.forget)} images, before",
        ),
    )
