"""The measuring halves of tasks: by hand, and the metrics of a cohort's task alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forgetmi.evaluation.metrics import METRICS
from forgetmi.evaluation.tasks import ClassMeasures, GradeMeasures, measures_of


@pytest.mark.parametrize("task", [ClassMeasures(), GradeMeasures()], ids=lambda task: task.name)
def test_predictions_by_hand(task: ClassMeasures | GradeMeasures) -> None:
    log_p = task.predictions(np.log([[3.0, 1.0], [1.0, 1.0]]))
    label = np.array([0, 1])
    assert np.allclose(np.exp(log_p), [[0.75, 0.25], [0.5, 0.5]], atol=1e-15)
    assert task.loss(log_p, label).tolist() == pytest.approx([-math.log(0.75), math.log(2)])
    assert task.signal(log_p, label).tolist() == pytest.approx([math.log(3), 0.0])
    assert task.distance(log_p, log_p).tolist() == [0.0, 0.0]
    assert task.groups(label).tolist() == [0, 1]
    assert all(METRICS[name].function is not None for name in task.scores())


def test_grades_are_scored_by_their_order_too() -> None:
    classes, grades = measures_of("classes"), measures_of("grades")
    assert (classes.name, grades.name) == ("classes", "grades")
    more = set(grades.scores()) - set(classes.scores())
    assert more == {name for name, metric in METRICS.items() if metric.grades_only}
