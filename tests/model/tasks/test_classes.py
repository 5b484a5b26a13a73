"""The training halves of tasks: slow computations, and two halves under each name."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from forgetmi.core.errors import SpecError
from forgetmi.core.registry import tasks
from forgetmi.core.task import TaskName
from forgetmi.model.tasks.by_name import training_task
from forgetmi.model.tasks.classes import BINARY, CLASSES, GRADES, Classes

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def declared(group: str) -> dict[str, str]:
    """The entry points of one group in the project file."""
    groups = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["entry-points"]
    return groups[group]


def made(target: str) -> Any:
    """What an entry point names, made."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)()


def test_each_task_has_two_halves_under_one_name() -> None:
    training, measuring = declared("forgetmi.tasks"), declared("forgetmi.task_measures")
    assert training.keys() == set(get_args(TaskName))
    assert {"classes", "grades"} <= measuring.keys() <= training.keys()
    for name in training:
        assert made(training[name]).name == name
        assert training_task(name) == made(training[name])
    for name in measuring:
        assert made(measuring[name]).name == name


def test_a_cohort_says_which_task_it_is() -> None:
    assert training_task("grades") is GRADES
    assert training_task("classes") is CLASSES


def test_another_package_can_add_a_task() -> None:
    tasks.add("other", Classes)
    try:
        assert tasks.get("other")().name == "classes"
    finally:
        tasks.remove("other")


@pytest.mark.parametrize("task", [CLASSES, GRADES], ids=lambda task: task.name)
def test_losses_of_samples_and_their_mean(task: Any) -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, -1, 1, -1])
    each = task.loss(logits, label)
    for row, known in enumerate(label.tolist()):
        slow = 0.0 if known < 0 else float(logits[row].logsumexp(0) - logits[row, known])
        assert float(each[row]) == pytest.approx(slow, rel=1e-12)
    assert float(task.mean_loss(logits, label)) == pytest.approx(float(each.sum()) / 3, rel=1e-12)
    assert float(task.mean_loss(logits, torch.full((5,), -1))) == 0.0


def test_margins_between_labels() -> None:
    for one in range(-1, 4):
        for other in range(-1, 4):
            pair = torch.tensor([one]), torch.tensor([other])
            apart = max(0.5, abs(one - other)) if min(one, other) >= 0 else 0.5
            assert float(GRADES.margin(*pair)) == apart
            assert float(CLASSES.margin(*pair)) == 0.5


@pytest.mark.parametrize("task", [CLASSES, GRADES], ids=lambda task: task.name)
def test_wrong_labels_and_distances(task: Any) -> None:
    drawn = {
        task.other(1, 3, rule="other", generator=np.random.default_rng(seed)) for seed in range(40)
    }
    assert drawn == {0, 2}
    logits = torch.randn(4, 3)
    assert float(task.distance(logits, logits + 1.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(task.distance(logits, -logits)) > 0


def test_two_classes_are_classes() -> None:
    torch.manual_seed(1)
    logits, label = torch.randn(6, 2, dtype=torch.float64), torch.tensor([0, 1, -1, 1, 0, 0])
    assert torch.equal(BINARY.loss(logits, label), CLASSES.loss(logits, label))
    assert BINARY.outputs(2) == 2
    assert not BINARY.ordered
    with pytest.raises(SpecError, match="at least 2 classes"):
        BINARY.outputs(1)


def test_errors_groups_and_auc_of_classes() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    label = torch.tensor([0, 1, 1, 0])
    assert CLASSES.error(logits, label).tolist() == [0, 0, 1, 1]
    assert torch.equal(CLASSES.groups(label), label)

    # Of four pairs of samples of both classes, two are in the right order and one is tied
    assert CLASSES.auc(logits, label) == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert CLASSES.auc(logits, torch.zeros(4, dtype=torch.int64)) is None


def test_an_unknown_task_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="findings"):
        training_task("finding")
