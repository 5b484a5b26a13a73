"""Whoever a model was trained on is never called never seen, and whoever it held out is never trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.further_withdrawal import further_withdrawal
from forgetmi.cohort.known_sides import partition_of_sides, sides_of_list, sides_of_model
from forgetmi.cohort.model_patients import ModelPatients, patients_of, read_patients
from forgetmi.cohort.partition import partition
from forgetmi.core.cohort import Cohort, ForgetRequest, Spelling
from forgetmi.core.errors import CheckpointError, PartitionError
from forgetmi.core.partition import NEVER_SEEN, SETS, Partition
from tests.cohort.test_partition import cohort_of, simulated

NOBODY = np.empty(0, np.int64)


def of_original(cohort: Cohort, sets: Partition) -> ModelPatients:
    trained = np.union1d(sets.forget, sets.retain)
    return patients_of(cohort, sets, trained=trained, forgotten=NOBODY)


def rows_of(cohort: Cohort, rows: np.ndarray) -> Cohort:
    """The same cohort with some rows alone, in that order."""
    columns = ("patient", "study", "image_id", "group", "image", "report", "label", "split")
    taken: dict[str, Any] = {name: getattr(cohort, name)[rows] for name in columns}
    return replace(cohort, **taken, digest="another")


def divided(known: ModelPatients, cohort: Cohort, forget: Any, *, seed: int = 9) -> Partition:
    side, notes = sides_of_model(known, cohort)
    return partition_of_sides(side, cohort, forget=forget, seed=seed, draw=0, notes=notes)


def never_seen(sets: Partition, cohort: Cohort) -> set[str]:
    rows = np.concatenate([sets.rows(name) for name in NEVER_SEEN])
    return set(cohort.patient[rows])


@given(
    first=st.integers(0, 5),
    second=st.integers(0, 5),
    groups=st.sampled_from([0, 12]),
    percent=st.sampled_from([4.0, 15.0]),
    listed=st.integers(0, 3),
)
def test_nobody_trained_on_is_never_seen(
    first: int, second: int, groups: int, percent: float, listed: int
) -> None:
    cohort = simulated(60, seed=1, groups=groups)
    sets = partition(cohort, forget=percent, seed=first)
    known = of_original(cohort, sets)
    trained, held_out = {*known.trained.patients}, {*known.holdout.patients}

    # Whatever the seed, and whether patients are drawn or named
    forget: Any = percent
    if listed:
        forget = ForgetRequest(patients=known.trained.patients[:listed])
    again = divided(known, cohort, forget, seed=second)
    assert not trained & never_seen(again, cohort)
    assert never_seen(again, cohort) == held_out
    assert set(cohort.patient[np.union1d(again.forget, again.retain)]) == trained
    assert set(again.validation) == set(sets.validation)

    # A model that forgot them never calls them never seen, nor trained on
    after = known.after(cohort, again)
    gone = set(cohort.patient[again.forget])
    assert {*after.forgotten.patients} == gone
    assert {*after.trained.patients} == trained - gone
    third = divided(after, cohort, ForgetRequest(patients=after.trained.patients[:1]))
    assert set(third.earlier) == set(again.forget)
    assert not (trained & never_seen(third, cohort))


def test_another_seed_would_have_called_trained_patients_never_seen() -> None:
    cohort = simulated(60, seed=1)
    known = of_original(cohort, partition(cohort, forget=5.0, seed=0))
    drawn_anew = partition(cohort, forget=5.0, seed=1)
    assert {*known.trained.patients} & never_seen(drawn_anew, cohort)


def test_it_is_the_further_withdrawal_of_the_same_model() -> None:
    cohort = simulated(60, seed=2, groups=10)
    first = partition(cohort, forget=8.0, seed=4)
    unlearned = of_original(cohort, first).after(cohort, first)
    request = ForgetRequest(patients=unlearned.trained.patients[3:6])

    expected = further_withdrawal(first, request, cohort=cohort)
    found = divided(unlearned, cohort, request)
    for name in (*SETS, "earlier"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.whole_patients == expected.whole_patients


def test_a_single_study_leaves_its_patient_trained_on() -> None:
    cohort = cohort_of(["a", "a", "b", "b", "c", "d"], study=["1", "2", "3", "4", "5", "6"])
    sets = Partition(
        forget=np.array([0]),
        retain=np.array([1, 2, 3]),
        validation=NOBODY,
        holdout=np.array([4, 5]),
        patient=np.array([0, 0, 1, 1, 2, 3]),
        group=np.array([0, 0, 1, 1, 2, 3]),
        cohort="digest",
        whole_patients=False,
    )
    after = of_original(cohort, sets).after(cohort, sets)
    assert cohort.patient[0] in after.trained.patients
    assert cohort.patient[0] in after.forgotten.patients
    assert cohort.study[0] not in after.trained.studies

    further = divided(after, cohort, ForgetRequest(patients=(cohort.patient[0],)))
    assert (further.forget.tolist(), further.earlier.tolist()) == ([0, 1], [0])
    assert further.whole_patients


def test_who_came_since_is_a_reference_and_new_studies_are_left_out() -> None:
    patients = ["a", "b", "c", "d", "e", "a", "c", "new", "kin"]
    groups = ["a", "b", "c", "d", "e", "a", "c", "new", "b"]
    cohort = cohort_of(patients, group=groups)
    before = rows_of(cohort, np.arange(5))
    sets = partition(before, forget=ForgetRequest(patients=(before.patient[0],)), seed=0)
    known = of_original(before, sets)
    trained = {*known.trained.patients}

    side, notes = sides_of_model(known, cohort)
    assert side[5] == "out"  # a new study of somebody trained on
    assert side[7] == "reference"
    assert side[8] == "out" if cohort.patient[1] in trained else True  # a relative
    assert any("not in the cohort when the model was made: reference" in note for note in notes)
    assert any("new studies of patients it knows: left out" in note for note in notes)


def test_nobody_new_counts_while_somebody_trained_on_is_missing() -> None:
    cohort = cohort_of(["a", "b", "c", "d", "e", "f", "new"])
    before = rows_of(cohort, np.arange(6))
    known = of_original(before, partition(before, forget=20.0, seed=0))
    gone = next(i for i in range(6) if before.patient[i] in known.trained.patients)
    now = rows_of(cohort, np.setdiff1d(np.arange(7), [gone]))

    side, notes = sides_of_model(known, now)
    assert side[-1] == "out"
    assert any("while some whom the model was trained on are missing" in note for note in notes)
    assert {*known.after(now, divided(known, now, 30.0)).trained.patients} >= {before.patient[gone]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key_id": "other"}, "another identifier key"),
        ({"spelling": Spelling(rules=("leading-zeros",))}, "read by another rule"),
    ],
)
def test_digests_that_cannot_be_compared_are_refused(change: dict[str, Any], words: str) -> None:
    cohort = simulated(20)
    known = of_original(cohort, partition(cohort, forget=10.0))
    with pytest.raises(PartitionError, match=words):
        sides_of_model(known, replace(cohort, **change))


def test_another_cohort_is_refused() -> None:
    cohort = simulated(20)
    known = of_original(cohort, partition(cohort, forget=10.0))
    with pytest.raises(PartitionError, match="nobody whom the model was trained on"):
        sides_of_model(known, cohort_of(["x", "y", "z"]))


def test_requests_that_cannot_be_carried_out_are_refused() -> None:
    cohort = simulated(30, seed=3)
    sets = partition(cohort, forget=10.0)
    known = of_original(cohort, sets)
    held_out = str(cohort.patient[sets.holdout[0]])
    everybody = ForgetRequest(patients=known.trained.patients)
    forgot = known.after(cohort, sets)
    cases = {
        "was never trained on": (known, ForgetRequest(patients=(held_out,))),
        "nobody would be retained": (known, everybody),
        "is not in the cohort": (known, ForgetRequest(patients=("0" * 16,))),
        "forget list is empty": (known, ForgetRequest()),
        "forgotten already": (forgot, ForgetRequest(patients=forgot.forgotten.patients)),
    }
    for words, (of, request) in cases.items():
        with pytest.raises(PartitionError, match=words):
            divided(of, cohort, request)


def test_of_somebody_on_no_side_nobody_says_that_they_were_never_trained_on() -> None:
    """Of a model from elsewhere some may have been trained on: their request is not one to close with a note."""
    cohort = simulated(30, seed=3)
    sets = partition(cohort, forget=10.0)
    one = str(cohort.patient[sets.holdout[0]])
    unknown = np.flatnonzero(cohort.patient == one)
    apart = replace(sets, holdout=np.setdiff1d(sets.holdout, unknown))
    trained = np.union1d(sets.forget, sets.retain)
    known = patients_of(cohort, apart, trained=trained, forgotten=NOBODY, unknown=unknown)
    with pytest.raises(PartitionError, match="is not known") as raised:
        divided(known, cohort, ForgetRequest(patients=(one,)))
    assert "never trained on" not in str(raised.value)
    assert "close their request with a note" not in str(raised.value)


@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_a_list_divides_a_model_from_elsewhere(validation: float) -> None:
    cohort = simulated(40, seed=5, groups=10)
    listed = tuple(dict.fromkeys(cohort.patient))[:20]
    side, notes = sides_of_list(listed, cohort, validation=validation, seed=1)
    sets = partition_of_sides(side, cohort, forget=10.0, seed=1, draw=0, notes=notes)

    assert set(cohort.patient[np.union1d(sets.forget, sets.retain)]) == set(listed)
    assert not set(listed) & never_seen(sets, cohort)
    assert bool(len(sets.validation)) == bool(validation)
    assert not set(cohort.patient[sets.validation]) & never_seen(sets, cohort)
    left_out = np.flatnonzero(side == "out")
    assert np.isin(cohort.group[left_out], cohort.group[side == "train"]).all()


def test_what_a_checkpoint_holds_is_read_back_or_refused() -> None:
    cohort = simulated(20)
    known = of_original(cohort, partition(cohort, forget=10.0))
    plain = known.to_plain()
    assert read_patients(plain, where="model.json") == known

    moved = {**plain, "trained": {**plain["trained"], "patients": plain["trained"]["patients"][1:]}}
    with pytest.raises(CheckpointError, match="not those of their root"):
        read_patients(moved, where="model.json")
    with pytest.raises(CheckpointError, match="holdout"):
        read_patients({**plain, "holdout": None}, where="model.json")
