"""What people are to the model in service is known from the model, also where the cohort has changed since."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from forgetmi.cohort.partition_file import read_partition
from forgetmi.requests.standing import (
    ABSENT,
    FORGOTTEN,
    HOLDOUT,
    NEVER_TRAINED,
    TRAINED,
    UNKNOWN,
    standing_in_service,
    standing_of_sides,
)
from tests.cohort.test_partition import cohort_of
from tests.runs import TINY, unnamed


def test_a_cohort_that_has_grown_changes_nobody_s_standing(
    signed_run: Path, tmp_path: Path
) -> None:
    cohort = TINY.cohort.load()
    sets = read_partition(signed_run / "partition.json", cohort)
    grown = dataclasses.replace(TINY.cohort, reference_patients=8).load()
    assert grown.digest != cohort.digest

    notes: list[str] = []
    before = standing_in_service(signed_run, cohort, "patient", notes)
    after = standing_in_service(signed_run, grown, "patient", notes)
    assert not notes
    assert before.items() <= after.items()
    for name, words in (("forget", FORGOTTEN), ("retain", TRAINED), ("holdout", HOLDOUT)):
        assert {after[one] for one in cohort.patient[sets.rows(name)]} == {words}

    # Without the model's own words, whoever it has forgotten would count as trained on again
    older = tmp_path / "older"
    unnamed(signed_run / "models" / "unlearned", older / "models" / "unlearned")
    shutil.copy(signed_run / "partition.json", older)
    assert standing_in_service(older, cohort, "patient", notes) == before
    assert not notes
    lost = standing_in_service(older, grown, "patient", notes)
    assert {lost[one] for one in cohort.patient[sets.forget]} == {TRAINED}
    assert "known from the cohort alone" in notes[0]


def test_somebody_the_model_does_not_name_is_not_said_to_be_never_trained_on() -> None:
    cohort = cohort_of(["a", "a", "b", "c", "c"])
    side = cohort.split.copy()
    side[:] = ["train", "out", "out", "forgotten", "out"]
    standing = standing_of_sides(side, cohort, "patient")
    assert [standing[one] for one in cohort.patient[[0, 2, 3]]] == [TRAINED, UNKNOWN, FORGOTTEN]
    assert UNKNOWN not in {*NEVER_TRAINED, ABSENT}
