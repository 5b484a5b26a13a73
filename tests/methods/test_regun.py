"""REGUN: whose predictions the forgotten are given, its gradient, and gradients that conflict."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.batch import Outputs
from forgetmi.methods.regun import REGUN
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import CLASSES
from forgetmi.unlearning.conflicts import projected, without_conflict
from forgetmi.unlearning.held_out import HeldOut
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.losses import reference_distillation
from forgetmi.unlearning.teacher import frozen


@pytest.fixture
def sets(small: Any) -> Any:
    """Loaders of forget and validation; the latter's rows can be chosen."""

    def make(validation: Any = None, **records: Any) -> GuardedLoaders:
        partition = small.partition
        rows = {name: partition.rows(name) for name in ("forget", "retain", "validation")}
        if validation is not None:
            rows["validation"] = validation
        return GuardedLoaders(
            dataclasses.replace(small.prepared.records, **records),
            rows,
            patient=partition.patient,
            reads=REGUN.info.reads,
            batch_size=8,
            seed=0,
        )

    return make


def test_one_held_out_sample_drawn_uniformly_gives_its_softmax(
    small: Any, sets: Any, memorised: ImageText
) -> None:
    """Every forgotten sample of the batch gets it, whatever is drawn."""
    row = small.partition.validation[3:4]
    loaders = sets(row)
    held_out = HeldOut(frozen(memorised), loaders, choice="uniform", task=CLASSES, seed=0)
    batch = next(loaders.forget.epoch(0))
    goal = held_out.of(batch, each=1, epoch=0, batch_number=0)
    alone = memorised(small.prepared.records.batch(row))
    for head in ("image", "text"):
        assert goal.head(head).shape[0] == 1
        expected = alone.head(head).softmax(1)
        assert torch.allclose(goal.head(head).softmax(1), expected, atol=1e-5)


def test_the_divergence_has_the_gradient_of_that_from_the_mean_prediction() -> None:
    """KL(q || p) with q the mean of the references' softmax, by a slow sum."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=generator, requires_grad=True)
    references = torch.randn(5, 4, generator=generator)
    fast = reference_distillation(
        Outputs({"image": logits}), Outputs({"image": references}), task=CLASSES
    )
    mean = references.softmax(1).mean(0)
    slow = sum((mean * (mean.log() - sample.log_softmax(0))).sum() for sample in logits) / len(
        logits
    )
    ours = torch.autograd.grad(fast, logits)[0]
    theirs = torch.autograd.grad(slow, logits)[0]
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert float(fast.detach()) >= float(slow.detach())


def test_same_classes_and_nearest_neighbours(small: Any, sets: Any, memorised: ImageText) -> None:
    loaders = sets()
    batch = next(loaders.forget.epoch(0))
    validation = small.partition.validation
    records, label = small.prepared.records, small.cohort.label
    teacher = frozen(memorised)
    everyone = teacher(records.batch(validation))

    def rows_of(goal: Outputs) -> list[int]:
        distance = torch.cdist(goal.image_logits, everyone.image_logits)
        assert float(distance.min(dim=1).values.max()) < 1e-3
        return [int(validation[place]) for place in distance.argmin(dim=1)]

    same = HeldOut(teacher, loaders, choice="classes", task=CLASSES, seed=0)
    rows = rows_of(same.of(batch, each=2, epoch=0, batch_number=0))
    wanted = np.repeat(batch.label.numpy(), 2)
    there = np.isin(wanted, label[validation])
    assert there.any()
    assert (label[rows][there] == wanted[there]).all()

    nearest = HeldOut(teacher, loaders, choice="nearest", task=CLASSES, seed=0)
    rows = rows_of(nearest.of(batch, each=1, epoch=0, batch_number=0))
    own = teacher(batch)
    for number, row in enumerate(rows):
        far: list[float] = []
        for place in range(len(validation)):
            squares = 0.0
            for name in ("image", "text"):
                difference = own.embedding[name][number] - everyone.embedding[name][place]
                squares += float(difference.square().sum())
            far.append(squares)
        assert far[list(validation).index(row)] == pytest.approx(min(far), rel=1e-3)


@pytest.mark.parametrize("choice", ["classes", "nearest"])
def test_who_lacks_a_film_has_nobody_beside_it_for_its_head(
    small: Any, sets: Any, memorised: ImageText, choice: Any
) -> None:
    """The image head's references are those of the forgotten with a film alone, and have one themselves."""
    there = np.arange(len(small.prepared.records)) % 3 > 0
    loaders = sets(present={"image": there})
    held_out = HeldOut(frozen(memorised), loaders, choice=choice, task=CLASSES, seed=0)
    batch = next(loaders.forget.epoch(0))
    have = batch.there("image")
    assert have.any()
    assert not have.all()

    # The joint embedding, which is there for all, says who they are: two for each
    goal = held_out.of(batch, each=2, epoch=0, batch_number=0)
    validation = small.partition.validation
    records = dataclasses.replace(small.prepared.records, present={"image": there})
    everyone = frozen(memorised)(records.batch(validation))
    assert len(goal.head("text")) == 2 * len(batch)
    places = torch.cdist(goal.embedding["joint"], everyone.embedding["joint"]).argmin(dim=1)
    own = torch.from_numpy(there[validation])[places]
    expected = everyone.head("image")[places[own & have.repeat_interleave(2)]]
    assert torch.allclose(goal.head("image"), expected, atol=1e-4)


def test_other_draws_for_other_batches_and_the_same_again(sets: Any, memorised: ImageText) -> None:
    loaders = sets()
    held_out = HeldOut(frozen(memorised), loaders, choice="uniform", task=CLASSES, seed=0)
    batch = next(loaders.forget.epoch(0))
    first = held_out.of(batch, each=1, epoch=0, batch_number=0).image_logits
    again = held_out.of(batch, each=1, epoch=0, batch_number=0).image_logits
    other = held_out.of(batch, each=1, epoch=1, batch_number=0).image_logits
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradients_that_conflict_lose_their_parts_against_each_other() -> None:
    one, other = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    first, second = projected([one, other])
    assert float(first @ other) == pytest.approx(0.0, abs=1e-6)
    assert float(second @ one) == pytest.approx(0.0, abs=1e-6)
    agreeing = [torch.tensor([1.0, 1.0]), torch.tensor([0.0, 2.0])]
    for before, after in zip(agreeing, projected(agreeing), strict=True):
        assert torch.equal(before, after)


def test_the_scalar_s_gradient_is_the_combined_one() -> None:
    """And without a conflict that of the sum; a parameter that no term depends on gets 0."""
    model = torch.nn.Linear(2, 1)
    for sign in (1.0, -1.0):
        terms = [model.weight.sum(), sign * model.weight[0, 0] * 3]
        model.zero_grad()
        without_conflict(terms, model).backward()
        expected = torch.stack(
            projected([torch.tensor([1.0, 1.0, 0.0]), torch.tensor([3.0 * sign, 0.0, 0.0])])
        ).sum(0)
        found = torch.cat([model.weight.grad.reshape(-1), model.bias.grad])
        assert torch.allclose(found, expected, atol=1e-6)


def test_weights_0_and_1_are_the_two_terms_alone(small: Any, memorised: ImageText) -> None:
    records, partition = small.prepared.records, small.partition
    forgotten, retained = records.batch(partition.forget[:4]), records.batch(partition.retain[:4])
    goal = memorised(records.batch(partition.validation[:3])).each(torch.Tensor.detach)
    context = SimpleNamespace(task=CLASSES)
    for weight in (0.0, 1.0):
        terms = REGUN(weight=weight)._terms(memorised, forgotten, goal, retained, context)  # type: ignore[arg-type]
        assert float(terms[0].detach()) == 0 if weight == 0 else float(terms[1].detach()) == 0
        assert float(terms[0].detach() + terms[1].detach()) > 0


def test_the_options_matter(unlearn: Any) -> None:
    base = REGUN(epochs=1)
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"choice": "nearest"},
        {"choice": "uniform"},
        {"aggregate": "pcgrad", "weight": 0.9},
        {"weight": 0.9},
    )
    found = {parameter_digest(unlearn(dataclasses.replace(base, **one)).model) for one in changes}
    assert len(found) == len(changes)
