"""UNDO: its ends are known methods, and no word of a forgotten report reaches the student."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from forgetmi.core.batch import Outputs
from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import derive
from forgetmi.methods.short_retrain import ShortRetrain
from forgetmi.methods.undo import Undo
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.losses import BaseLoss
from forgetmi.model.tasks.classes import CLASSES
from forgetmi.run import workflow
from forgetmi.unlearning.losses import normalised_distance
from forgetmi.unlearning.mixture import mix


def test_afresh_with_labels_alone_it_is_a_short_retraining(unlearn: Any) -> None:
    short = unlearn(ShortRetrain(train_epochs=1, warmup=0.05, decay=0.35))
    undone = unlearn(Undo(alpha=1.0, kl=0.0, train_epochs=1))
    assert parameter_digest(undone.model) == parameter_digest(short.model)


def test_without_epochs_it_is_the_mixture(small: Any, unlearn: Any, memorised: ImageText) -> None:
    """At 0 the teacher, at 1 a new model, and in between both in proportion."""
    assert parameter_digest(unlearn(Undo(alpha=0.0, train_epochs=0)).model) == parameter_digest(
        memorised
    )

    fresh = workflow.build(small.prepared.spec, seed=derive(5, "unlearn", "afresh"))
    anew = unlearn(Undo(alpha=1.0, train_epochs=0)).model
    assert parameter_digest(anew) == parameter_digest(fresh)

    expected = copy.deepcopy(memorised)
    mix(expected, fresh, keep=0.25)
    between = unlearn(Undo(alpha=0.75, train_epochs=0)).model
    assert parameter_digest(between) == parameter_digest(expected)


def test_the_forgotten_cannot_reach_the_student(
    small: Any, unlearn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other images and reports of the forgotten, the teacher given, leave the same student, bit for bit."""
    method = Undo(train_epochs=1)
    before = unlearn(method).model
    records, forgotten = type(small.prepared.records), set(small.partition.forget.tolist())
    read = records.batch

    def changed(self: Any, rows: Any, **more: Any) -> Any:
        batch = read(self, rows, **more)
        theirs = torch.tensor([int(row) in forgotten for row in rows])
        batch.image[theirs] = 1 - batch.image[theirs]
        batch.tokens[theirs] = batch.tokens[theirs].flip(1)
        return batch

    monkeypatch.setattr(records, "batch", changed)
    assert parameter_digest(unlearn(method).model) == parameter_digest(before)
    # The spy would be seen: the forgotten's batches are others now
    assert torch.any(
        small.prepared.records.batch(small.partition.forget[:2]).image
        != read(small.prepared.records, small.partition.forget[:2]).image
    )


def test_each_option_changes_what_is_learnt(unlearn: Any) -> None:
    base = Undo(train_epochs=1)
    options: tuple[dict[str, Any], ...] = (
        {},
        {"temperature": 4.0},
        {"labels": False},
        {"embedding": 1.0},
        {"kl": 0.0},
        {"schedule": "constant"},
        {"alpha": 0.5},
    )
    digests = {
        parameter_digest(unlearn(dataclasses.replace(base, **option)).model) for option in options
    }
    assert len(digests) == len(options)


def test_the_objective_adds_what_has_a_weight() -> None:
    """Against a slow sum over samples and heads."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        Outputs.image_text(*(torch.randn(3, 4, generator=generator) for _ in range(5)))
        for _ in range(2)
    )
    loss = BaseLoss(torch.tensor(7.0), {}, torch.tensor(0.0))
    expected = 7.0
    for head in ("image", "text"):
        for ours, theirs in zip(student.head(head), teacher.head(head), strict=True):
            p, q = (theirs / 2).softmax(0), (ours / 2).softmax(0)
            expected += 0.5 * 4 * float((p * (p / q).log()).sum()) / 3
        a, b = student.embedding[head], teacher.embedding[head]
        expected += 3.0 * float(normalised_distance(a, b)) / 2
    context = SimpleNamespace(task=CLASSES)
    found = Undo(kl=0.5, embedding=3.0)._objective(student, teacher, loss, context)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(expected, rel=1e-5)
    alone = Undo(labels=False)._objective(student, student, loss, context)  # type: ignore[arg-type]
    assert float(alone) == pytest.approx(0.0, abs=1e-6)


def test_normalised_distance_is_twice_one_minus_the_cosine() -> None:
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    slow = [float(((x / x.norm() - y / y.norm()) ** 2).sum()) for x, y in zip(a, b, strict=True)]
    assert float(normalised_distance(a, 7 * b)) == pytest.approx(sum(slow) / 5, abs=1e-5)


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(MethodError, match="nothing to learn"):
        Undo(labels=False, kl=0.0)
