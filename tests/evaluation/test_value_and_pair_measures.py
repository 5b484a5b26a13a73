"""Values, two classes and pairs: closed forms and slow computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.pair_measures import PairMeasures
from forgetmi.evaluation.statistics import once
from forgetmi.evaluation.tasks import BinaryMeasures, ClassMeasures, measures_of
from forgetmi.evaluation.value_measures import ValueMeasures

VALUE = ValueMeasures()


def test_values_by_hand() -> None:
    predicted, label = VALUE.predictions(np.array([[1.0], [3.0]])), np.array([1.0, 1.0])
    assert VALUE.signal(predicted, label).tolist() == [0, -4]
    assert VALUE.loss(predicted, label).tolist() == [0, 2]
    assert VALUE.distance(predicted, label).tolist() == [0, 2]
    assert VALUE.divergence(predicted, label).tolist() == [0, 4]
    assert VALUE.together([predicted, label]).tolist() == [1, 2]
    assert VALUE.correct(predicted, label) is None
    with pytest.raises(EvaluationError, match="one number"):
        VALUE.predictions(np.zeros((2, 2)))


def test_scores_of_values_agree_with_other_libraries_under_weights() -> None:
    draw = np.random.default_rng(0)
    label = draw.normal(size=30) + 100
    predicted = label + draw.normal(size=30)
    weights = draw.integers(0, 3, size=(2, 30)).astype(float)
    for place, weight in enumerate(weights):
        repeated = np.repeat(np.arange(30), weight.astype(int))
        expected = {
            "r2": r2_score(label[repeated], predicted[repeated]),
            "rank_correlation": spearmanr(label[repeated], predicted[repeated]).statistic,
            "mae": np.abs(label - predicted)[repeated].mean(),
        }
        for name in VALUE.scores():
            found = VALUE.score(name, predicted, label)(weights)[place]
            assert found == pytest.approx(expected[name], rel=1e-6)
    assert np.isnan(VALUE.score("r2", predicted, np.ones(30))(once(30))[0])


def test_bands_of_values_hold_as_many() -> None:
    label = np.append(np.random.default_rng(0).normal(size=100), np.nan)
    groups = VALUE.groups(label)
    assert np.bincount(groups[:-1]).tolist() == [20] * 5
    assert groups[-1] == -1
    assert VALUE.groups(np.array([np.nan])).tolist() == [-1]


def test_one_column_is_the_log_odds_of_two() -> None:
    odds, label = np.array([[2.0], [-1.0]]), np.array([1, 0])
    two = np.hstack([np.zeros((2, 1)), odds])
    binary, classes = BinaryMeasures(), ClassMeasures()
    np.testing.assert_allclose(binary.predictions(odds), classes.predictions(two), atol=1e-12)
    np.testing.assert_allclose(binary.signal(binary.predictions(odds), label), [2.0, 1.0])


@pytest.mark.parametrize(
    ("task", "label", "columns", "why"),
    [
        ("binary", np.array([0, 2]), 1, "classes 0 to 1"),
        ("binary", np.array([1, 1, -1]), 1, "all known labels are the same"),
        ("classes", np.array([0, 5]), 3, "classes 0 to 2"),
        ("grades", np.array([[0.0, 1.0]]), 2, "classes 0 to 1"),
        ("value", np.array([0, 1]), 1, "one finite number"),
        ("value", np.array([0.0, np.inf]), 1, "one finite number"),
        ("value", np.array([0.0, 1.0]), 2, "one output"),
        ("value", np.array([np.nan]), 1, "no value is known"),
        ("value", np.array([1.0, 1.0]), 1, "all known values are the same"),
        ("pairs", np.array([0, 1]), 0, "0 in every row"),
    ],
)
def test_labels_of_another_kind(task: str, label: np.ndarray, columns: int, why: str) -> None:
    (fault,) = measures_of(task).faults(label, columns, ())
    assert why in fault.why


def test_pairs_refuse_whatever_reads_predictions() -> None:
    task = PairMeasures()
    for call in (task.predictions, lambda x: task.signal(x, x), lambda x: task.loss(x, x)):
        with pytest.raises(EvaluationError, match="no predictions"):
            call(np.zeros((1, 1)))
