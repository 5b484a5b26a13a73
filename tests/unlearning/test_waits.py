"""On an accelerator no step waits for the one before: counted on a card that is not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import forgetmi.model.train as training
from forgetmi.core.batch import Outputs
from forgetmi.core.devices import steps_between_reads
from forgetmi.core.errors import MethodError
from forgetmi.data.loaders import Loader
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.methods.undo import Undo
from forgetmi.model.initialise import build
from forgetmi.model.recipe import Recipe
from forgetmi.model.step_values import StepValues
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.teacher import OutputTable
from tests.fake_card import CARD, fake_card


def waits(small: Any, method: Any, *, batch_size: int) -> tuple[int, int]:
    """Optimiser steps of a method, and how often it waited for the card."""
    sets = small.partition

    def fresh(seed: int) -> Any:
        return build(small.prepared.spec, seed=seed).to(CARD)

    with fake_card() as card:
        model = fresh(0)
        loaders = GuardedLoaders(
            small.prepared.records,
            {"forget": sets.forget[:4], "retain": sets.retain[:8], "validation": sets.validation},
            patient=sets.patient,
            reads=method.info.reads,
            batch_size=batch_size,
            seed=0,
            device=CARD,
        )
        context = Context(
            seed=0,
            reads=method.info.reads,
            task=GRADES,
            _recipe=Recipe(epochs=1, batch_size=batch_size),
            _fresh_model=fresh,
        )
        method.apply(model, loaders, context)
        context.read_steps()

    # Films cross as they are stored, noisy ones too
    assert {film.dtype for film in card.films()} == {torch.uint16}
    return context.log.steps, card.waits


@pytest.mark.parametrize(
    "method",
    [
        FineTune(epochs=1),
        ForgetMI(epochs=1, noise="given"),
        Undo(train_epochs=1),
    ],
    ids=lambda method: type(method).__name__,
)
def test_twice_as_many_steps_wait_no_more_often(small: Any, method: Any) -> None:
    steps, seldom = waits(small, method, batch_size=4)
    more_steps, often = waits(small, method, batch_size=2)
    assert more_steps > steps
    assert often == seldom


def test_outputs_of_frozen_layers_are_looked_up_without_a_wait(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filling their table waits once a batch; the epochs that read it do not."""
    # The card that is not there has no other types to compute in
    monkeypatch.setattr("torch.is_autocast_enabled", lambda kind: False)
    of_an_epoch = []
    for batch_size in (4, 2):
        _, short = waits(small, CFk(epochs=2), batch_size=batch_size)
        _, longer = waits(small, CFk(epochs=3), batch_size=batch_size)
        of_an_epoch.append(longer - short)
    assert of_an_epoch[0] == of_an_epoch[1]


def test_a_training_waits_once_an_epoch_for_its_steps_and_once_for_their_means(
    small: Any,
) -> None:
    for batch_size, shift in ((4, 0.0), (2, 0.0), (2, 3.0)):
        recipe = Recipe(epochs=2, batch_size=batch_size, shift=shift)
        loader = Loader(small.prepared.records, np.arange(8), batch_size=batch_size, seed=0)
        with fake_card() as card:
            model = build(small.prepared.spec, seed=0).to(CARD)
            training.fit(model, loader, recipe, seed=0, task=GRADES)

        # Once more for the digest of the weights before the first
        assert card.waits == 1 + 2 * recipe.epochs


def test_values_wait_until_so_many_steps_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgetmi.model.step_values.steps_between_reads", lambda device: 3)
    seen: list[tuple[int, list[float]]] = []

    def on_read(step: int, values: list[float]) -> None:
        seen.append((step, values))

    steps = StepValues(on_read)
    for number in range(4):
        steps.add(number, torch.tensor([float(number)]))
    assert seen == [(0, [0.0]), (1, [1.0]), (2, [2.0])]
    steps.read()
    steps.read()
    assert seen[3:] == [(3, [3.0])]
    assert steps_between_reads("cuda") > 1 == steps_between_reads("cpu")


def test_a_loss_read_late_still_stops_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgetmi.model.step_values.steps_between_reads", lambda device: 100)
    weight = torch.ones(1, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.1)
    none: Any = None
    context = Context(
        seed=0, reads=frozenset(), task=GRADES, _recipe=Recipe(), _fresh_model=lambda seed: none
    )
    for factor in (1.0, float("nan"), 1.0):
        context.step((factor * weight).sum(), optimiser)
    assert context.log.first_gradient is None
    with pytest.raises(MethodError, match="became nan at step 1"):
        context.read_steps()


def test_rows_on_an_accelerator_are_looked_up_there(monkeypatch: pytest.MonkeyPatch) -> None:
    position = torch.tensor([1, -1, 0])
    table = OutputTable(position, Outputs({"image": torch.tensor([[1.0], [2.0]])}))
    expected = table.of(torch.tensor([2, 0])).logits["image"]
    with pytest.raises(KeyError):
        table.of(torch.tensor([1]))

    # What was never computed is not a number, so that the loss is none, either
    monkeypatch.setattr("forgetmi.unlearning.teacher.is_accelerator", lambda device: True)
    assert torch.equal(table.of(torch.tensor([2, 0])).logits["image"], expected)
    assert table.of(torch.tensor([1, 9])).logits["image"].isnan().all()
