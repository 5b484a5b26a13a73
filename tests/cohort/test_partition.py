"""People are never on two sides, draws resemble the cohort, and no result depends on the identifier key."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.partition import partition
from forgetmi.cohort.sampling import _look_ahead, closest_sum, resembling_sample
from forgetmi.cohort.table import TableCohort
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import CohortError, PartitionError
from forgetmi.core.partition import SETS, Partition
from forgetmi.core.seeding import numpy_generator

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
MIMIC = SHARED / "mimic_splits"
KEY, OTHER = b"0123456789abcdef", b"fedcba9876543210"


def cohort_of(
    patient: list[str],
    *,
    study: list[str] | None = None,
    label: list[int] | None = None,
    split: list[str] | None = None,
    group: list[str] | None = None,
    key: bytes = KEY,
    classes: int = 4,
) -> Cohort:
    """A cohort without images, from raw columns."""
    names, n = Pseudonyms(key), len(patient)
    blank = np.full(n, "", dtype=object)
    people = names.digests("patient", patient)
    return Cohort(
        name="test",
        patient=people,
        study=names.digests("study", study or [f"s{i}" for i in range(n)]),
        image_id=names.digests("image", [f"i{i}" for i in range(n)]),
        group=people if group is None else names.digests("group", group),
        image=blank,
        report=blank,
        label=np.array(label or [0] * n, np.int64),
        split=blank if split is None else np.array(split, dtype=object),
        classes=tuple(map(str, range(classes))),
        task="grades",
        subgroups={},
        show_images=False,
        digest="digest",
        key_id=names.key_id,
    )


def simulated(
    patients: int, *, seed: int = 0, key: bytes = KEY, groups: int = 0, split: str = ""
) -> Cohort:
    """Patients with 1 to 20 images each; every third study has a second image; groups link neighbours."""
    rng = numpy_generator(seed, "test", patients)
    each = np.minimum(rng.geometric(0.3, patients), 20)
    patient = np.repeat(np.arange(patients), each)
    study = np.arange(len(patient)) - (np.arange(len(patient)) % 3 == 2) * np.concatenate(
        [[False], patient[1:] == patient[:-1]]
    )
    return cohort_of(
        [f"p{i}" for i in patient],
        study=[f"s{i}" for i in study],
        key=key,
        label=rng.integers(-1, 4, len(patient)).tolist(),
        split=[split] * len(patient),
        group=[f"g{i // groups if groups else i}" for i in patient],
    )


def same(one: Partition, two: Partition) -> bool:
    return (
        all(np.array_equal(one.rows(name), two.rows(name)) for name in SETS)
        and one.notes == two.notes
    )


def mimic(key: bytes = KEY) -> Cohort:
    table = pd.read_csv(MIMIC / "mimic-cxr-sub-img-edema-split-manualtest.csv", dtype=str)
    return cohort_of(
        table.subject_id.tolist(),
        study=table.study_id.tolist(),
        label=table.edeme_severity.astype(int).tolist(),
        split=["holdout" if fold == "TEST" else "" for fold in table.fold],
        key=key,
    )


needs_mimic = pytest.mark.skipif(not MIMIC.is_dir(), reason="the MIMIC split lists are not here")


@given(
    st.integers(6, 60), st.integers(0, 4), st.integers(0, 3), st.floats(1, 60), st.integers(0, 5)
)
def test_everybody_is_on_one_side(
    patients: int, seed: int, groups: int, percent: float, root: int
) -> None:
    cohort = simulated(patients, seed=seed, groups=groups)
    try:
        found = partition(cohort, forget=percent, seed=root)
    except PartitionError as error:
        found = None
        words = str(error)
    if found is None:  # so few unlinked patients that a set would be empty
        assert "fewer than two unlinked" in words
        assert patients <= 8 * max(1, groups)
        return
    rows = np.concatenate([found.rows(name) for name in SETS])
    assert sorted(rows) == list(range(len(cohort)))
    for one, two in combinations(SETS, 2):
        assert set(cohort.patient[found.rows(one)]).isdisjoint(cohort.patient[found.rows(two)])
        if {one, two} != {"forget", "retain"}:
            assert set(cohort.group[found.rows(one)]).isdisjoint(cohort.group[found.rows(two)])
    assert same(found, partition(cohort, forget=percent, seed=root))
    assert same(
        found,
        partition(
            simulated(patients, seed=seed, groups=groups, key=OTHER), forget=percent, seed=root
        ),
    )


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9), st.floats(0, 60))
def test_closest_sum_against_all_subsets(sizes: list[int], target: float) -> None:
    sums = {sum(some) for r in range(1, len(sizes)) for some in combinations(sizes, r)}
    best = min(sums, key=lambda one: (abs(one - target), one))
    found = closest_sum(np.array(sizes), target)
    assert found in sums
    assert abs(found - target) == abs(best - target)


@given(
    st.lists(st.sampled_from([4, 6, 7, 9, 15, 22]), min_size=2, max_size=12),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_draw_comes_as_close_as_whole_units_allow(
    sizes: list[int], share: float, seed: int
) -> None:
    size = np.array(sizes)
    one = np.ones((len(size), 1), np.int64)
    target = share * size.sum()
    goal = closest_sum(size, target)
    found = resembling_sample(size, one, one, target=target, generator=numpy_generator(seed))
    assert found.total == size[found.units].sum() == goal
    greedy = _look_ahead(size, numpy_generator(seed).permutation(len(size)), goal)
    assert size[greedy].sum() == goal


def test_draw_of_a_sum_that_few_sets_give(monkeypatch: pytest.MonkeyPatch) -> None:
    size = np.array(
        [11, 21, 31] + [10] * 2000
    )  # 1003 needs all of the first three: few random orders find them
    one = np.ones((len(size), 1), np.int64)
    used = []
    monkeypatch.setattr(
        "forgetmi.cohort.sampling._look_ahead", lambda *given: used.append(1) or _look_ahead(*given)
    )
    found = resembling_sample(size, one, one, target=1003, generator=numpy_generator(0))
    assert found.total == size[found.units].sum() == 1003
    assert found.units[:3].all()
    assert used


def test_reported_differences_against_scipy() -> None:
    cohort = simulated(200)
    found = partition(cohort, forget=20)
    training = np.concatenate([found.forget, found.retain])
    table = pd.DataFrame({"patient": cohort.patient, "study": cohort.study, "label": cohort.label})
    counts = [
        table.loc[rows].groupby("patient").study.nunique() for rows in (found.forget, training)
    ]
    distance = ks_2samp(*counts).statistic
    shares = [
        table.loc[rows].query("label >= 0").label.value_counts(normalize=True)
        for rows in (found.forget, training)
    ]
    assert f"distance of study counts {distance:.3f}" in found.notes[-1]
    assert (
        f"label shares within {100 * (shares[0] - shares[1]).abs().max():.1f} points"
        in found.notes[-1]
    )


def tolerances(cohort: Cohort, found: Partition) -> tuple[float, float]:
    training = np.concatenate([found.forget, found.retain])
    table = pd.DataFrame(
        {"patient": found.patient, "study": codes(cohort.study)[0], "label": cohort.label}
    )
    counts = [
        table.loc[rows].groupby("patient").study.nunique() for rows in (found.forget, training)
    ]
    shares = [
        table.loc[rows].label.value_counts(normalize=True) for rows in (found.forget, training)
    ]
    return float(ks_2samp(*counts).statistic), float((shares[0] - shares[1]).abs().max())


@needs_mimic
@pytest.mark.parametrize("percent", [3, 6, 10])
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_real_split_list_holds_the_tolerances(percent: float, seed: int) -> None:
    cohort = mimic()
    found = partition(cohort, forget=percent, validation=0.1, seed=seed)
    counts = found.counts()
    assert counts["holdout"] == {"images": 531, "patients": 156}
    assert counts["validation"]["patients"] == 151
    assert counts["forget"]["patients"] >= 30
    images = counts["forget"]["images"] + counts["retain"]["images"]
    assert abs(counts["forget"]["images"] - percent / 100 * images) <= 0.5
    distance, shift = tolerances(cohort, found)
    assert distance <= 0.15
    assert shift <= 0.05


@needs_mimic
def test_published_forget_sets_by_name() -> None:
    cohort = mimic()
    for percent, images, patients in ((3, 201, 16), (6, 401, 32), (10, 674, 60)):
        request = read_forget_list(MIMIC / f"forget_set_{percent}per.csv", cohort=cohort, key=KEY)
        assert request.notices == (f"the list's {images} rows name {patients} patients",)
        found = partition(cohort, forget=request, validation=0)
        assert found.counts()["forget"] == {"images": images, "patients": patients}
        assert len(found.retain) == {3: 6010, 6: 5810, 10: 5537}[percent]
        assert request.notices[0] in found.notes
        drawn = partition(cohort, forget=request, validation=0.1)
        assert drawn.counts()["validation"]["patients"] == round(0.1 * (1507 - patients))


@needs_mimic
def test_real_split_list_does_not_depend_on_the_key() -> None:
    assert same(partition(mimic(), forget=6), partition(mimic(OTHER), forget=6))


@pytest.mark.skipif(not (SHARED / "covid_cxr").is_dir(), reason="the covid_cxr cohort is not here")
def test_real_cohort_with_linked_patients(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    cohort = TableCohort(
        SHARED / "covid_cxr" / "cohort.csv",
        image="image_path",
        report="text",
        group="source_url",
        key_file=tmp_path / "key",
    ).load()
    for seed in range(3):
        found = partition(cohort, forget=10, seed=seed)
        assert found.counts()["holdout"]["patients"] == 24
        assert found.counts()["validation"]["patients"] == 11
        images = len(found.forget) + len(found.retain)
        assert abs(len(found.forget) - images / 10) <= 0.5


def test_5000_patients_in_seconds() -> None:
    cohort = simulated(5000)
    start = time.process_time()
    found = partition(cohort, forget=10)
    assert time.process_time() - start < 10
    assert found.counts()["holdout"]["patients"] == 1250
    assert found.counts()["validation"]["patients"] == round(0.15 * 3750)


def test_given_splits_are_kept() -> None:
    cohort = cohort_of(
        [f"p{i}" for i in range(12)],
        split=["holdout"] * 2 + ["validation"] * 2 + ["reference"] * 2 + ["train"] * 3 + [""] * 3,
    )
    found = partition(cohort, forget=30)
    assert [found.rows(name).tolist() for name in ("holdout", "validation", "reference")] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert len(found.forget) == 2
    assert found.notes[:2] == (
        "holdout: as given by the cohort",
        "validation: as given by the cohort",
    )


def test_validation_is_drawn_from_given_training_patients_and_holdout_is_not() -> None:
    cohort = simulated(40, split="train")
    with pytest.raises(PartitionError, match="holdout"):
        partition(cohort, forget=10)
    found = partition(cohort, forget=10, holdout=0)
    assert found.counts()["validation"]["patients"] == 6
    assert len(partition(cohort, forget=10, holdout=0, validation=0).validation) == 0


def test_shares_change_one_set_at_a_time() -> None:
    cohort = simulated(100)
    one, two = partition(cohort, forget=5), partition(cohort, forget=15)
    assert np.array_equal(one.holdout, two.holdout)
    assert np.array_equal(one.validation, two.validation)
    assert not np.array_equal(one.holdout, partition(cohort, forget=5, seed=1).holdout)


def test_several_draws_are_disjoint() -> None:
    cohort = simulated(300)
    draws = [partition(cohort, forget=6, draw=number) for number in range(4)]
    for one, two in combinations(draws, 2):
        assert np.array_equal(one.holdout, two.holdout)
        assert np.array_equal(one.validation, two.validation)
        assert set(cohort.patient[one.forget]).isdisjoint(cohort.patient[two.forget])
    assert len({len(one.forget) for one in draws}) == 1


def test_a_tenth_is_a_tenth_of_a_percent() -> None:
    found = partition(simulated(400), forget=0.1)
    assert "0.1 % asked" in found.notes[-1]
    assert len(found.forget) <= 2


def test_linked_patients_can_be_forgotten_one_by_one() -> None:
    cohort = simulated(120, groups=3)
    found = partition(cohort, forget=10)
    assert set(cohort.group[found.forget]) & set(cohort.group[found.retain])


def test_request_keeps_those_asked_in_training() -> None:
    cohort = simulated(60, groups=2)
    names = tuple(dict.fromkeys(cohort.patient))
    for seed in range(5):
        found = partition(cohort, forget=ForgetRequest(patients=names[10:20]), seed=seed)
        assert set(cohort.patient[found.forget]) == set(names[10:20])
        assert found.whole_patients
        assert len(found.holdout)
    assert same(
        found,
        partition(
            simulated(60, groups=2, key=OTHER),
            seed=4,
            forget=ForgetRequest(
                patients=tuple(dict.fromkeys(simulated(60, groups=2, key=OTHER).patient))[10:20]
            ),
        ),
    )


def test_request_for_single_studies() -> None:
    cohort = cohort_of(["a", "a", "a", "b", "c", "d"], study=["1", "2", "2", "3", "4", "5"])
    found = partition(
        cohort, forget=ForgetRequest(studies=(cohort.study[1],)), holdout=0, validation=0
    )
    assert found.forget.tolist() == [1, 2]
    assert found.retain.tolist() == [0, 3, 4, 5]
    assert not found.whole_patients
    assert "single studies" in found.notes[-1]


SPLIT = cohort_of(
    list("abcdef"), split=["train", "train", "validation", "holdout", "reference", "train"]
)
REFUSED = {
    "zero percent": (SPLIT, {"forget": 0}, ["percentage is 0"]),
    "all percent": (SPLIT, {"forget": 100}, ["percentage is 100"]),
    "negative percent": (SPLIT, {"forget": -1}, ["percentage is -1"]),
    "percent that is no number": (SPLIT, {"forget": float("nan")}, ["percentage is nan"]),
    "share of one": (
        SPLIT,
        {"forget": 5, "holdout": 1.0, "validation": -0.1},
        ["holdout is 1", "validation is -0.1"],
    ),
    "draw below 0": (SPLIT, {"forget": 5, "draw": -1}, ["draw is -1"]),
    "draws used up": (SPLIT, {"forget": 30, "draw": 2}, ["forget set"]),
    "empty list": (SPLIT, {"forget": ForgetRequest()}, ["empty"]),
    "unknown patients": (
        SPLIT,
        {
            "forget": ForgetRequest(
                patients=("0" * 16, "1" * 16, SPLIT.patient[0]), studies=("2" * 16,)
            )
        },
        ["patient 0000000000000000", "patient 1111111111111111", "study 2222222222222222"],
    ),
    "never trained on": (
        SPLIT,
        {"forget": ForgetRequest(patients=tuple(SPLIT.patient[2:5]))},
        [
            f"{SPLIT.patient[2]} is in the validation",
            f"{SPLIT.patient[3]} is in the holdout",
            f"{SPLIT.patient[4]} is in the reference",
        ],
    ),
    "everybody in training": (
        SPLIT,
        {"forget": ForgetRequest(patients=tuple(SPLIT.patient[[0, 1, 5]]))},
        ["nobody would be retained"],
    ),
    "everybody": (
        cohort_of(list("abc")),
        {
            "forget": ForgetRequest(patients=tuple(cohort_of(list("abc")).patient)),
            "holdout": 0,
            "validation": 0,
        },
        ["nobody would be retained"],
    ),
    "one patient": (cohort_of(["a", "a"]), {"forget": 10}, ["holdout set"]),
    "two patients": (cohort_of(["a", "b"]), {"forget": 10}, ["validation set"]),
    "no rows": (cohort_of([]), {"forget": 10}, ["no rows"]),
    "patient in two splits": (
        cohort_of(["a", "a", "b"], split=["train", "holdout", ""]),
        {"forget": 10},
        [f"patient {Pseudonyms(KEY).digest('patient', 'a')}"],
    ),
    "family in two splits": (
        cohort_of(list("abc"), split=["train", "", ""], group=["x", "x", "y"]),
        {"forget": 10},
        [f"patient {Pseudonyms(KEY).digest('patient', 'b')}"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_every_fault(case: str) -> None:
    cohort, options, words = REFUSED[case]
    with pytest.raises(PartitionError) as caught:
        partition(cohort, **options)
    assert len(caught.value.faults) == len(words)
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert word in str(fault)


def test_an_empty_forget_set_is_refused_before_a_method_can_run(small: Any) -> None:
    with pytest.raises(PartitionError, match="the forget set is empty"):
        replace(small.partition, forget=np.array([], np.int64))


def test_draw_that_resembles_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgetmi.cohort.sampling.LABEL_TOLERANCE", 1e-6)
    with pytest.raises(PartitionError, match="resembles"):
        partition(simulated(500), forget=20)


def listed(folder: Path, content: str, cohort: Cohort, **options: str) -> ForgetRequest:
    path = folder / "list.csv"
    path.write_text(content)
    return read_forget_list(path, cohort=cohort, key=KEY, **options)


FIVE = cohort_of(list("abcde"), study=["s1", "s2", "s3", "s4", "s5"])


@pytest.mark.parametrize(
    ("content", "options", "patients", "studies"),
    [
        ("patient_id\nb\na\n", {}, "ba", []),
        ("patient_id,reason\n b ,x\nb,y\n", {}, "b", []),
        ("subject_id,study_id\na,s1\n", {}, "a", []),
        ("study_id\ns4\ns1\n", {}, "", ["s4", "s1"]),
        ("mrn\na\n", {"patient_column": "mrn"}, "a", []),
        ("patient_id,study_id\na,s1\n", {"study_column": "study_id"}, "", ["s1"]),
        ("\ufeffpatient_id\r\na\r\n", {}, "a", []),
    ],
)
def test_forget_lists(
    tmp_path: Path, content: str, options: dict[str, str], patients: str, studies: list[str]
) -> None:
    names = Pseudonyms(KEY)
    request = listed(tmp_path, content, FIVE, **options)
    assert request.patients == tuple(names.digest("patient", one) for one in patients)
    assert request.studies == tuple(names.digest("study", one) for one in studies)


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (
            "patient_id\na\nSECRET\n\nGONE\n",
            {},
            ["list.csv row 2 (line 3)", "list.csv row 3 (line 5)"],
        ),
        (
            "patient_id,x\na,\n,y\n",
            {},
            ["list.csv row 2 (line 3), column 'patient_id': the identifier is blank"],
        ),
        ("patient_id\na\npatient_id\n", {}, ["repeats the header"]),
        ("patient_id\n", {}, ["no rows"]),
        ("mrn\na\n", {}, ["no column patient_id, subject_id or study_id"]),
        ("patient\na\n", {"patient_column": "patients"}, ["Did you mean 'patient'"]),
        (
            "patient_id,study_id\na,s1\n",
            {"patient_column": "patient_id", "study_column": "study_id"},
            ["Name only one"],
        ),
        ("study_id\nSECRET\n", {}, ["study " + Pseudonyms(KEY).digest("study", "SECRET")]),
    ],
)
def test_forget_lists_refused(
    tmp_path: Path, content: str, options: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(CohortError) as caught:
        listed(tmp_path, content, FIVE, **options)
    assert len(caught.value.faults) == len(words)
    assert all(word in str(fault) for word, fault in zip(words, caught.value.faults, strict=True))
    assert "SECRET" not in str(caught.value)


def test_key_must_be_the_cohorts(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="not the one the cohort was read with"):
        listed(tmp_path, "patient_id\na\n", replace(FIVE, key_id="0" * 16))


def test_validation_can_come_out_of_the_holdout_alone() -> None:
    """For a model that others trained on everybody outside the holdout."""
    people = [f"p{i // 2}" for i in range(80)]
    cohort = cohort_of(people, split=["holdout" if i // 2 % 4 == 0 else "train" for i in range(80)])
    usual = partition(cohort, forget=10, validation=0.5)
    found = partition(cohort, forget=10, validation=0.5, validation_from="holdout")
    given = np.flatnonzero(cohort.split == "holdout")
    assert sorted([*found.validation, *found.holdout]) == given.tolist()
    assert len(found.validation) == len(found.holdout) == len(given) // 2
    assert len(found.forget) + len(found.retain) == 80 - len(given)
    assert not set(usual.validation) & set(given)
    assert any("taken out of the holdout" in note for note in found.notes)
    assert not any("taken out of the holdout" in note for note in usual.notes)
