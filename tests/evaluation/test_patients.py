"""Patients as the unit: aggregation, single remembered patients, matching, subgroups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm

from forgetmi.audit.subgroups import TOO_FEW, patient_values, study_bands, subgroup_table
from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.matching import match
from forgetmi.evaluation.patients import by_patient, permutation_test, score_patients
from forgetmi.evaluation.statistics import weighted_mean


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def auc(members: np.ndarray, others: np.ndarray) -> float:
    difference = members[:, None] - others
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def test_mean_over_images_then_over_studies_by_hand() -> None:
    patient = np.array([7, 7, 7, 3, 7])
    study = np.array(["a", "a", "b", "c", "a"])
    found = by_patient(patient, study, np.array([1, 1, 2, -1, 2]))
    assert found.code.tolist() == [3, 7]
    assert found.studies.tolist() == [1, 2]
    assert found.images.tolist() == [1, 4]
    assert found.label.tolist() == [-1, 1]  # two of each known label: the smaller
    values = np.array([[1.0, 2, 10, 5, 3], [0, 0, 1, 2, 0]])
    np.testing.assert_allclose(found.mean(values), [[5, (2 + 10) / 2], [2, 0.5]])
    np.testing.assert_allclose(found.mean(values[0]), [5, 6])
    with pytest.raises(EvaluationError, match="no images"):
        by_patient(patient[:0], study[:0], patient[:0])


def test_order_and_repetition_of_studies_change_nothing() -> None:
    r = rng(1)
    patient, study, label = r.integers(0, 9, 60), r.integers(0, 25, 60), r.integers(0, 3, 60)
    values, mixed = r.normal(size=60), r.permutation(60)
    expected = by_patient(patient, study, label).mean(values)
    np.testing.assert_allclose(
        by_patient(patient[mixed], study[mixed], label[mixed]).mean(values[mixed]), expected
    )
    doubled = by_patient(
        np.tile(patient, 2), np.concatenate([study, study + 100]), np.tile(label, 2)
    )
    np.testing.assert_allclose(doubled.mean(np.tile(values, 2)), expected)


@pytest.mark.parametrize(("correlation", "expected"), [(0.0, 0.749), (0.6, 0.604)])
def test_mean_of_ten_records_has_the_closed_form(correlation: float, expected: float) -> None:
    n, k, shift, r = 2500, 10, 0.3, rng(2)
    patient = np.repeat(np.arange(2 * n), k)
    values = (
        np.sqrt(correlation) * r.normal(size=2 * n)[patient]
        + np.sqrt(1 - correlation) * r.normal(size=len(patient))
        + shift * (patient < n)
    )
    mean = by_patient(patient, np.arange(len(patient)), np.zeros(len(patient), int)).mean(values)
    assert norm.cdf(shift * np.sqrt(k / (1 + (k - 1) * correlation)) / np.sqrt(2)) == pytest.approx(
        expected, abs=6e-4
    )
    assert auc(mean[:n], mean[n:]) == pytest.approx(expected, abs=0.02)
    if correlation == 0:
        most = values.reshape(-1, k).max(1)
        assert auc(most[:n], most[n:]) == pytest.approx(0.643, abs=0.02)


def test_the_maximum_finds_memory_where_there_is_none_and_the_mean_does_not() -> None:
    """Forgotten patients with 12 images against never-seen ones with 3, no signal at all."""
    r = rng(3)
    forgotten, never = r.normal(size=(3000, 12)), r.normal(size=(3000, 3))
    assert auc(forgotten.max(1), never.max(1)) > 0.7
    assert auc(forgotten.mean(1), never.mean(1)) == pytest.approx(0.5, abs=0.02)


def scores(
    seed: int, *, remembered: float = 0.0, forgotten: int = 16, never: int = 600, retrains: int = 3
):
    """Patients with 1 to 8 studies; the mean of many scatters less, and its level rises with their number."""
    r = rng(seed)
    studies = r.integers(1, 9, forgotten + never)
    noise = r.normal(size=(1 + retrains, forgotten + never)) / np.sqrt(studies)
    level = 0.3 * np.log(studies) * np.array([1.0, *[0.0] * retrains])[:, None] + r.normal(
        size=forgotten + never
    )
    signal = level + noise
    signal[0, 0] += remembered
    return score_patients(
        unlearned=signal[0],
        retrained=signal[1:],
        studies=studies,
        forgotten=np.arange(forgotten + never) < forgotten,
    )


def test_never_seen_scores_are_standard_whatever_the_study_count() -> None:
    r = rng(4)
    studies = r.integers(1, 9, 4000)
    raw = 0.5 * np.log(studies) + r.normal(size=4000) / np.sqrt(studies)
    found = score_patients(
        unlearned=raw, retrained=np.zeros((1, 4000)), studies=studies, forgotten=np.arange(4000) < 5
    )
    for count in range(1, 9):
        at = studies[5:] == count
        assert found.never_seen[at].mean() == pytest.approx(0, abs=0.15)
        assert found.never_seen[at].std() == pytest.approx(1, abs=0.12)


def test_one_remembered_patient_among_sixteen_is_found_with_320_references() -> None:
    for never, found in ((600, True), (100, False)):
        one = scores(5, remembered=15.0, never=never)
        assert one.forgotten[0] == one.forgotten.max()
        assert one.percentile[0] == 100
        assert (
            bool(one.remembered_adjusted[0] <= 0.05) is found
        )  # with 100 references no p-value can be small enough
        assert one.remembered_adjusted[1:].min() > 0.05
        assert one.over_forgotten_adjusted.min() > 0.05
    assert (scores(5, never=600).compared >= 319).all()
    low = scores(6, remembered=-15.0)
    assert low.over_forgotten_adjusted[0] <= 0.05
    assert low.remembered_adjusted.min() > 0.05


def test_some_patients_at_a_time_are_scored_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    r = np.random.default_rng(6)
    given = {
        "unlearned": np.round(r.normal(size=90), 1),
        "retrained": r.normal(size=(2, 90)),
        "studies": r.integers(1, 6, 90),
        "forgotten": np.arange(90) < 17,
    }
    whole = score_patients(**given)
    monkeypatch.setattr("forgetmi.evaluation.patient_places._BLOCK", 5 * 73)
    for name, values in vars(score_patients(**given)).items():
        np.testing.assert_array_equal(values, getattr(whole, name))


def test_p_values_of_patients_who_are_not_remembered_are_uniform() -> None:
    found = [scores(seed) for seed in range(100, 160)]
    for values in ([one.remembered for one in found], [one.over_forgotten for one in found]):
        assert kstest(np.concatenate(values), "uniform").pvalue > 0.01
    alarms = np.mean([one.remembered_adjusted.min() <= 0.05 for one in found])
    assert alarms <= 0.05 + 1.96 * np.sqrt(0.05 * 0.95 / len(found))


def test_scores_need_someone_to_compare_with() -> None:
    with pytest.raises(EvaluationError, match="too few to standardise") as error:
        score_patients(
            unlearned=np.ones(5),
            retrained=np.ones((0, 5)),
            studies=np.ones(5, int),
            forgotten=np.zeros(5, bool),
        )
    assert len(error.value.faults) == 3
    with pytest.raises(EvaluationError, match="same score"):
        score_patients(
            unlearned=np.ones(20),
            retrained=np.ones((1, 20)),
            studies=np.ones(20, int),
            forgotten=np.arange(20) < 3,
        )


def test_permutation_within_study_counts() -> None:
    """Signals that only follow the study count show nothing; a real difference shows."""
    r = rng(7)
    studies = np.concatenate([r.integers(4, 9, 12), r.integers(1, 9, 150)])
    forgotten = np.arange(162) < 12
    by_count = studies + r.normal(0, 0.5, 162)
    assert auc(by_count[forgotten], by_count[~forgotten]) > 0.65
    p = permutation_test(signal=by_count, forgotten=forgotten, studies=studies, generator=rng(0))
    assert p > 0.05
    assert (
        permutation_test(
            signal=by_count + 3 * forgotten, forgotten=forgotten, studies=studies, generator=rng(0)
        )
        < 0.01
    )
    assert (
        permutation_test(
            signal=by_count - 3 * forgotten, forgotten=forgotten, studies=studies, generator=rng(0)
        )
        < 0.01
    )
    null = [
        permutation_test(
            signal=rng(seed).normal(size=162),
            forgotten=forgotten,
            studies=studies,
            generator=rng(seed),
            permutations=199,
        )
        for seed in range(200)
    ]
    assert kstest(null, "uniform").pvalue > 0.01
    apart = permutation_test(
        signal=by_count, forgotten=forgotten, studies=np.where(forgotten, 20, 1), generator=rng(0)
    )
    assert apart == 1


def test_matching_makes_counts_and_labels_alike() -> None:
    r = rng(8)
    studies = r.integers(3, 9, 40), r.integers(1, 9, 300)
    label = r.choice(3, 40, p=[0.7, 0.2, 0.1]), r.choice(3, 300, p=[0.2, 0.3, 0.5])
    found = match(studies=studies, label=label)
    assert found.weights.mean() == pytest.approx(1)
    assert found.weights.min() > 0
    assert 20 < found.effective < 300
    assert found.unmatched == 0
    for name, one in (("label", label), ("studies", tuple(side >= 3 for side in studies))):
        wanted = one[0].mean()
        assert weighted_mean(one[1].astype(float), found.weights[None])[0] == pytest.approx(
            wanted, abs=0.12
        ), name
    plain = match(label=(label[1], label[1]), studies=(studies[1], studies[1]))
    np.testing.assert_allclose(plain.weights, 1, atol=1e-6)
    assert plain.effective == pytest.approx(300)


def test_matching_says_who_has_no_counterpart() -> None:
    found = match(
        label=(np.array([0, 3, 3]), np.array([0] * 20 + [1] * 20)),
        studies=(np.array([99, 1, 2]), np.ones(40, int)),
    )
    assert found.unmatched == 2
    assert np.isfinite(found.weights).all()
    assert found.weights[:20].mean() > found.weights[20:].mean()


def test_a_patients_value_is_the_most_frequent_known_one() -> None:
    patient = np.array([5, 5, 5, 2, 2, 9, 9])
    assert patient_values(np.array(["AP", "PA", "PA", "", "", "b", "a"]), patient).tolist() == [
        "",
        "PA",
        "a",
    ]
    assert patient_values(np.array(["", "", "PA", "AP", "", "", ""]), patient).tolist() == [
        "AP",
        "PA",
        "",
    ]
    assert study_bands(np.array([1, 2, 3, 4, 5, 9, 10, 99])).tolist() == [
        "1",
        "2",
        "3-4",
        "3-4",
        "5-9",
        "5-9",
        "10 or more",
        "10 or more",
    ]


def test_subgroups_are_measured_or_said_to_be_too_few() -> None:
    r = rng(9)
    sex = np.repeat(["F", "M"], [20, 9]), np.repeat(["F", "M"], [60, 60])
    forgotten = r.normal(size=29) + 2 * (sex[0] == "F")
    rows = {
        row.value: row
        for row in subgroup_table(
            forgotten=forgotten, never_seen=r.normal(size=120), columns={"sex": sex}, seed=0
        )
    }
    assert rows["F"].auc is not None
    assert rows["F"].auc > 0.8
    assert rows["F"].interval is not None
    assert rows["F"].interval[0] > 0.5
    assert (rows["F"].forgotten, rows["F"].never_seen) == (20, 60)
    assert (rows["M"].auc, rows["M"].interval, rows["M"].note) == (None, None, TOO_FEW)
