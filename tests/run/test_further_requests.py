"""A further request on one model: who withdrew before is taught nowhere again, and nothing is measured on them."""

from __future__ import annotations

import dataclasses

import numpy as np

from forgetmi.cohort.partition import partition as make_partition
from forgetmi.run.relearn import taught_patients
from forgetmi.run.shadow_plan import inside, plan_for
from tests.runs import SMALL


def test_who_withdrew_earlier_is_taught_nowhere_again() -> None:
    partition = make_partition(SMALL.cohort.load(), forget=25.0, seed=3)
    patients = np.unique(partition.patient[partition.forget])
    gone = partition.forget[np.isin(partition.patient[partition.forget], patients[:2])]
    further = dataclasses.replace(partition, earlier=gone)
    plan = plan_for(further, models=4, unlearnings=0, seed=0)
    assert plan.forgotten == len(patients) - 2 > 0
    assert not inside(plan, further)[:, patients[:2]].any()
    assert inside(plan, further)[:, patients[2:]].any(0).all()
    taught = taught_patients(further, seed=0)
    assert len(taught) == (len(patients) - 1) // 2
    assert not np.isin(taught, patients[:2]).any()
