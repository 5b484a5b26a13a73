"""Tasks that another package registers are found by name, in both halves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forgetmi.core import registry
from forgetmi.core.errors import SpecError
from forgetmi.evaluation.tasks import ClassMeasures, measures_of
from forgetmi.model.tasks.by_name import training_task
from forgetmi.model.tasks.classes import Classes
from tests.made_tasks import Made


class Triage(Classes):
    """Another package's task."""

    name = "triage"


class TriageMeasures(ClassMeasures):
    """Its other half."""

    name = "triage"


@pytest.fixture
def triage() -> Iterator[None]:
    registry.tasks.add("triage", Triage)
    registry.task_measures.add("triage", TriageMeasures())
    yield
    registry.tasks.remove("triage")
    registry.task_measures.remove("triage")


@pytest.mark.usefixtures("triage")
def test_both_halves_are_found() -> None:
    assert isinstance(training_task("triage"), Triage)
    assert training_task("triage").outputs(3) == 3
    assert isinstance(measures_of("triage"), TriageMeasures)

    # It is measured as any other
    from forgetmi.evaluation.suite import evaluate

    made = Made("classes")
    found = evaluate(made.signals(), made.partition(), task="triage", seed=0, resamples=0)
    expected = evaluate(made.signals(), made.partition(), task="classes", seed=0, resamples=0)
    assert found == expected


def test_a_task_that_nobody_registered_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"no task 'findngs'.*forgetmi\.tasks.*findings"):
        training_task("findngs")
    with pytest.raises(SpecError, match=r"no task 'triage'.*forgetmi\.task_measures"):
        measures_of("triage")


def test_one_half_alone_is_no_task() -> None:
    registry.tasks.add("triage", Triage)
    try:
        with pytest.raises(SpecError, match=r"forgetmi\.task_measures"):
            measures_of("triage")
    finally:
        registry.tasks.remove("triage")
