"""Bad Teaching: its divergence by hand, the teachers, and what it reads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import derive
from forgetmi.data.loaders import Loader
from forgetmi.methods.bad_teaching import BadTeaching
from forgetmi.model.class_losses import distillation
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.unlearning.method import Unlearned, unlearn


def run(
    small: Any, original: ImageText, teacher: ImageText, method: BadTeaching, **more: Any
) -> Unlearned:
    return unlearn(
        method,
        original,
        records=small.prepared.records,
        partition=small.partition,
        seed=5,
        recipe=Recipe(),
        fresh_model=lambda own: copy.deepcopy(teacher),
        **more,
    )


def test_divergence_by_hand_on_two_samples() -> None:
    student, teacher = (
        torch.tensor([[0.0, 0.0], [1.0, 0.0]]),
        torch.tensor([[2.0, 0.0], [1.0, 0.0]]),
    )
    p = torch.tensor([2.0, 0.0], dtype=torch.float64).softmax(0)
    expected = float((p * (p / 0.5).log()).sum()) / 2
    assert float(distillation(student, teacher)) == pytest.approx(expected, rel=1e-5)


def test_with_the_original_as_bad_teacher_it_is_plain_distillation(
    small: Any, memorised: ImageText
) -> None:
    done = run(small, memorised, memorised, BadTeaching(epochs=1, lr=1e-9))
    assert all(abs(value) < 1e-5 for value in done.trace.epochs[0].values())


def test_the_first_loss_is_the_mean_over_both_sets(small: Any, memorised: ImageText) -> None:
    bad = workflow.build(small.prepared.spec, seed=derive(5, "another"))
    done = run(small, memorised, bad, BadTeaching(epochs=1, lr=1e-12), batch_size=1000)
    forget = small.prepared.records.batch(small.partition.forget)
    with torch.no_grad():
        ours, theirs = memorised(forget), bad.eval()(forget)
        kl = sum(
            float(distillation(getattr(ours, head), getattr(theirs, head)))
            for head in ("image_logits", "text_logits")
        )
    whole = len(forget) + round(0.3 * len(small.partition.retain))
    assert done.trace.epochs[0]["forget"] == pytest.approx(kl * len(forget) / whole, rel=1e-3)
    assert done.trace.epochs[0]["retain"] == pytest.approx(0, abs=1e-5)


def test_the_forgotten_move_towards_the_bad_teacher(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    # At the original the loss on the retained has no gradient: the first step is for the forgotten alone.
    first, second = unlearn(
        BadTeaching(epochs=2, lr=1e-5, weight_decay=0.0), batch_size=1000
    ).trace.epochs
    assert second["forget"] < 0.999 * first["forget"]
    done = unlearn(BadTeaching(epochs=3))
    batch = next(
        Loader(small.prepared.records, small.partition.forget, batch_size=64, seed=0).epoch(0)
    )
    with torch.no_grad():
        before, after = (
            float(model(batch).image_logits.softmax(1).max(1).values.mean())
            for model in (memorised, done.model)
        )
    assert after < before


def test_a_part_of_the_retained_and_no_label_is_read(small: Any, unlearn: Any) -> None:
    trace = unlearn(BadTeaching(epochs=2, fraction=0.3)).trace
    part = round(0.3 * len(small.partition.retain))
    assert trace.samples == {"forget": 3 * len(small.partition.forget), "retain": 3 * part}
    assert "labels" not in BadTeaching.info.reads


def test_the_bad_teacher_does_not_start_like_the_original(small: Any, memorised: ImageText) -> None:
    """Even where original and run share a root seed."""
    seeds: list[int] = []

    def fresh(own: int) -> ImageText:
        seeds.append(own)
        return workflow.build(small.prepared.spec, seed=own)

    unlearn(
        BadTeaching(epochs=1),
        memorised,
        records=small.prepared.records,
        partition=small.partition,
        seed=3,
        recipe=Recipe(),
        fresh_model=fresh,
    )
    first, own = (
        parameter_digest(workflow.build(small.prepared.spec, seed=seed)) for seed in (3, *seeds)
    )
    assert first != own


@pytest.mark.parametrize("options", [{"fraction": 0.0}, {"fraction": 1.5}, {"temperature": 0.0}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(MethodError):
        BadTeaching(**options)
