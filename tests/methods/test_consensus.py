"""Consensus and the distillation both of our methods share: targets, frozen parts, limits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from forgetmi.core.errors import SpecError
from forgetmi.data.noise import Perturbation
from forgetmi.methods.consensus import Consensus
from forgetmi.model.image_text import ImageText
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.unlearning import distillation
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.losses import distance
from forgetmi.unlearning.teacher import frozen, tabulate
from tests.unlearning.averaging import RECIPE, STILL, apply, goal_of, outputs, trained


@pytest.fixture(scope="module")
def original(small: Any) -> ImageText:
    return trained(small)


@pytest.mark.parametrize("name", ["draws", "batch_size"])
@pytest.mark.parametrize("wrong", [0, -3])
def test_it_needs_a_draw_and_a_sample_a_step(name: str, wrong: int) -> None:
    with pytest.raises(SpecError, match=name):
        Consensus(**{name: wrong})


def test_one_unchanged_draw_is_a_fixed_point(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    clean, goal = goal_of(
        monkeypatch, small, original, Consensus(draws=1, shift=0.0, text_level=0.0)
    )
    assert torch.equal(goal.image, clean.image)
    assert torch.equal(goal.text, clean.text)


def test_nothing_to_change_gives_no_gradient(small: Any, original: ImageText) -> None:
    still, moving = (
        apply(small, original, replace(method, epochs=1)).trace.first_gradient or 0.0
        for method in (Consensus(draws=1, shift=0.0, text_level=0.0), Consensus(draws=2))
    )
    assert still < 1e-2 * moving


def test_the_goal_is_the_rescaled_mean_of_the_draws(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    method = Consensus(draws=3, shift=0.1, text_level=0.5)
    clean, goal = goal_of(monkeypatch, small, original, method)
    rows = small.partition.forget
    found = [
        tabulate(
            frozen(original),
            [
                small.prepared.records.batch(
                    rows, perturbation=Perturbation(shift=0.1, text_level=0.5, seed=0, draw=draw)
                )
            ],
        )
        for draw in range(3)
    ]
    for name in ("image", "text"):
        stacked = torch.stack([getattr(table, name) for table in found])
        mean = stacked.mean(0)
        wanted = mean * (stacked.norm(dim=2).mean(0) / mean.norm(dim=1))[:, None]
        assert torch.allclose(getattr(goal, name), wanted, atol=1e-5)
        assert float(distance(getattr(goal, name), getattr(clean, name)).mean()) > 1e-3


def test_heads_and_gate_never_move_and_the_rest_does(small: Any, original: ImageText) -> None:
    done = apply(small, original, Consensus(draws=2, epochs=3, lr=1e-2))
    assert not [name for name in done.trace.changed if name.startswith(STILL)]
    assert {"img_model.conv1.weight", "text_model.bert.pooler.dense.weight"} <= set(
        done.trace.changed
    )
    assert all(
        "running" not in name for name in done.trace.changed
    )  # batch-norm statistics are kept
    assert all(parameter.requires_grad for parameter in done.model.parameters())


def test_it_reads_neither_labels_nor_validation(small: Any, original: ImageText) -> None:
    assert Consensus.info.reads == {"forget", "retain", "teacher"}
    assert set(apply(small, original, Consensus(draws=1, epochs=1)).trace.samples) == {
        "forget",
        "retain",
    }


def test_the_forgotten_come_nearer_to_the_goal(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    method = Consensus(draws=4, epochs=40, batch_size=16, lr=3e-3)
    with monkeypatch.context() as patch:
        clean, goal = goal_of(patch, small, original, method)
    done = apply(small, original, method)
    after = outputs(small, done.model, small.partition.forget)
    for name in ("image", "text"):
        way = float(distance(getattr(clean, name), getattr(goal, name)).mean())
        left = float(distance(getattr(after, name), getattr(goal, name)).mean())
        assert left < 0.75 * way
    assert done.trace.epochs[0]["image forget"] == pytest.approx(
        1.0, abs=1e-3
    )  # the first step starts at the original


def context(small: Any, reads: frozenset[Any]) -> tuple[Context, GuardedLoaders]:
    loaders = GuardedLoaders(
        small.prepared.records,
        {kind: small.partition.rows(kind) for kind in ("forget", "retain")},
        patient=small.partition.patient,
        reads=reads,
        batch_size=8,
        seed=0,
    )
    return Context(
        seed=0,
        reads=reads,
        task=GRADES,
        _recipe=RECIPE,
        _fresh_model=lambda seed: workflow.build(small.prepared.spec, seed=seed),
        samples=loaders,
    ), loaders


@pytest.mark.parametrize("kl", [0.0, 2.0])
def test_the_first_loss_against_a_slow_computation(
    small: Any, original: ImageText, kl: float
) -> None:
    """With rate 0 the student stays the original: the epoch's means can be computed sample by sample."""
    told, loaders = context(small, Consensus.info.reads)
    teacher = frozen(original)
    clean = tabulate(teacher, loaders.forget.batches(loaders.forget.rows))
    goal = clean.replaced(
        embedding={"image": clean.image + 0.5, "text": clean.text * 2},
        logits={"image": clean.image_logits * 0.5},
    )
    distillation.distil(
        original,
        teacher,
        clean=clean,
        goal=goal,
        loaders=loaders,
        context=told,
        epochs=1,
        batch_size=3,
        lr=0.0,
        text_lr_factor=1.0,
        weight_decay=0.0,
        clip=0.0,
        kl=kl,
    )
    terms = told.log.epochs[0]
    assert terms["image forget"] == pytest.approx(1.0, abs=1e-4)
    assert terms["text forget"] == pytest.approx(1.0, abs=1e-4)
    assert terms["image retain"] == terms["text retain"] == 0.0
    assert ("KL forget" in terms) == bool(kl)
    if kl:
        p, q = goal.image_logits.softmax(1), clean.image_logits.softmax(1)
        slow = [
            sum(float(a) * (float(a.log()) - float(b.log())) for a, b in zip(one, two, strict=True))
            for one, two in zip(p, q, strict=True)
        ]
        assert terms["KL forget"] == pytest.approx(kl * sum(slow) / len(slow), rel=1e-2)
        assert terms["KL retain"] == pytest.approx(0.0, abs=1e-4)


def test_the_text_encoder_learns_at_its_own_rate(small: Any, original: ImageText) -> None:
    done = apply(
        small, original, Consensus(draws=2, epochs=1, text_lr_factor=1e-9, weight_decay=0.0)
    )
    old, new = original.state_dict(), done.model.state_dict()
    moved = {
        branch: max(
            float((new[name] - old[name]).abs().max())
            for name in old
            if name.startswith(branch) and old[name].is_floating_point()
        )
        for branch in ("img_model.", "text_model.")
    }
    assert moved["img_model."] > 1e-4
    assert moved["text_model."] < 1e-7


def test_steps_take_a_few_forgotten_and_as_many_retained(
    small: Any,
    original: ImageText,
    monkeypatch: Any,
) -> None:
    """Pieces of the run's own batches: all forgotten once an epoch, the rate falling to 0 from half-way on."""
    told, loaders = context(small, Consensus.info.reads)  # batches of 8
    teacher, rows = frozen(original), loaders.forget.rows
    clean = tabulate(teacher, loaders.forget.batches(rows))
    seen: list[list[int]] = []
    rates: list[list[float]] = []

    def watch(
        batches: Any, objective: Any, optimiser: Any, context: Any, *, clip: float
    ) -> dict[str, float]:
        halves = [
            (batch.row[: len(batch) // 2].tolist(), batch.row[len(batch) // 2 :].tolist())
            for batch in batches
        ]
        assert all(len(lost) == len(kept) <= 3 for lost, kept in halves)
        assert all(set(kept) <= set(small.partition.retain.tolist()) for _, kept in halves)
        seen.append([row for lost, _ in halves for row in lost])
        rates.append([group["lr"] for group in optimiser.param_groups])
        return {}

    monkeypatch.setattr(distillation, "minimise", watch)
    run = partial(
        distillation.distil,
        original,
        teacher,
        clean=clean,
        goal=clean,
        loaders=loaders,
        context=told,
        epochs=4,
        batch_size=3,
        lr=0.1,
        text_lr_factor=4.0,
        weight_decay=0.0,
        clip=0.0,
    )
    run()
    assert [sorted(epoch) for epoch in seen] == [sorted(rows.tolist())] * 4
    assert [rate[0] for rate in rates] == pytest.approx([0.1, 0.1, 0.1, 0.05])
    assert [rate[-1] for rate in rates] == pytest.approx([0.4, 0.4, 0.4, 0.2])
    rates.clear()
    run(decay=1.0)
    run(decay=0.0)
    assert [rate[0] for rate in rates] == pytest.approx(
        [0.1, 0.075, 0.05, 0.025, 0.1, 0.1, 0.1, 0.1]
    )
