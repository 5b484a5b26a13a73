"""AFS: plain distillation in the limit, and a risk term that pushes knowledge of the forgotten down."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import derive
from forgetmi.data.loaders import Loader
from forgetmi.methods.afs import AFS, exposure
from forgetmi.model.class_losses import distillation
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.losses import base_loss
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.unlearning.loop import adamw
from forgetmi.unlearning.losses import classification

RECIPE = Recipe(epochs=2, batch_size=16)


def batch_of(small: Any, rows: Any) -> Batch:
    return small.prepared.records.batch(rows)


def plain_distillation(small: Any, teacher: ImageText, *, seed: int, epochs: int) -> ImageText:
    """Written out, without the method's own helpers for order and look-up."""
    records, retain = small.prepared.records, small.partition.retain
    order = Loader(records, retain, batch_size=16, seed=seed)
    rows = np.sort(order.random(0, round(0.5 * len(retain))))
    with torch.no_grad():
        answers = [teacher(records.batch(rows[at : at + 16])) for at in range(0, len(rows), 16)]
    image, text = (
        torch.cat([getattr(one, name) for one in answers])
        for name in ("image_logits", "text_logits")
    )
    student = workflow.build(small.prepared.spec, seed=derive(seed, "unlearn", "afresh"))
    student.gate.requires_grad_(False)
    optimiser = adamw(student, lr=RECIPE.lr, weight_decay=RECIPE.weight_decay)
    loader = Loader(records, rows, batch_size=RECIPE.batch_size, seed=seed, avoid_single=True)
    step = 0
    for epoch in range(epochs):
        student.train()
        for batch in loader.epoch(epoch):
            for group in optimiser.param_groups:
                group["lr"] = RECIPE.lr * RECIPE.lr_factor(step, epochs * len(loader))
            out, at = student(batch), torch.from_numpy(np.searchsorted(rows, batch.row.numpy()))
            loss = base_loss(out, batch, task=GRADES).total + (
                distillation(out.image_logits, image[at], temperature=4.0)
                + distillation(out.text_logits, text[at], temperature=4.0)
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for g in optimiser.param_groups for p in g["params"]], RECIPE.clip
            )
            optimiser.step()
            step += 1
    return student.eval()


def test_without_risk_it_is_plain_distillation(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    done = unlearn(AFS(kd=1.0, risk=0.0, epochs=2), recipe=RECIPE)
    plain = plain_distillation(small, memorised, seed=5, epochs=2).state_dict()
    for name, value in done.model.state_dict().items():
        if not name.endswith(
            "key.bias"
        ):  # the softmax ignores it: its gradient is rounding, which AdamW enlarges
            assert torch.allclose(value, plain[name], rtol=1e-3, atol=2e-4), name
    assert done.trace.samples["forget"] == 0


def test_exposure_by_hand(small: Any, memorised: ImageText) -> None:
    one, two = (
        batch_of(small, rows) for rows in (small.partition.forget[:5], small.partition.forget[5:8])
    )
    with torch.no_grad():
        losses = [
            float(classification(memorised(batch), batch.label, task=GRADES))
            for batch in (one, two)
        ]
        found = float(exposure(memorised, iter([one, two]), 7, task=GRADES))
    assert found == pytest.approx(1 / (7 * sum(losses) / 2), rel=1e-5)


class Answers(torch.nn.Module):
    """Stands in for a model: what it says of each row is given."""

    def __init__(self, image: torch.Tensor, text: torch.Tensor) -> None:
        super().__init__()
        self.image, self.text = image, text

    def forward(self, batch: Batch) -> Outputs:
        return Outputs.image_text(self.image[batch.row], self.text[batch.row])


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.lists(st.integers(-1, 1), min_size=1, max_size=4), min_size=1, max_size=4),
    st.integers(1, 9),
    st.sampled_from([0.0, 3.0, 40.0]),
)
@example(0, [[-1]], 1, 3.0)  # nothing known: the cap
def test_exposure_against_a_loop(
    seed: int, labels: list[list[int]], batches: int, size: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    total = sum(map(len, labels))
    model = Answers(
        *(size * torch.randn(total, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    )
    query, losses, first = [], [], 0
    for part in labels:
        rows = torch.arange(first, first + len(part))
        query.append(
            Batch.image_text(
                image=rows, tokens=rows, mask=rows, label=torch.tensor(part), study=rows, row=rows
            )
        )
        known = [(at, label) for at, label in enumerate(part, start=first) if label >= 0]
        each = [
            math.log(sum(math.exp(z - head[at][label]) for z in head[at]))
            for head in (model.image.tolist(), model.text.tolist())
            for at, label in known
        ]
        losses.append(sum(each) / max(1, len(known)))
        first += len(part)
    slow = 1 / max(1e-3, batches * sum(losses) / len(losses))
    assert float(exposure(model, iter(query), batches, task=GRADES)) == pytest.approx(
        slow, rel=1e-9
    )  # type: ignore[arg-type]


def test_the_risk_gradient_raises_the_loss_on_the_forgotten(
    small: Any, memorised: ImageText
) -> None:
    student = copy.deepcopy(memorised)
    query = batch_of(small, small.partition.forget)
    with torch.no_grad():
        before = float(classification(student(query), query.label, task=GRADES))
    exposure(student, iter([query]), 1, task=GRADES).backward()
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad / parameter.grad.norm().clamp(min=1e-12)
        assert float(classification(student(query), query.label, task=GRADES)) > before


def test_the_query_leaves_statistics_and_mode_alone(small: Any) -> None:
    student = workflow.build(small.prepared.spec, seed=1).train()
    before = parameter_digest(student)
    exposure(student, iter([batch_of(small, small.partition.forget)]), 1, task=GRADES)
    assert parameter_digest(student) == before
    assert all(module.training for module in student.modules())


def test_risk_keeps_the_student_uncertain_about_the_forgotten(small: Any, unlearn: Any) -> None:
    query = batch_of(small, small.partition.forget)
    students = [unlearn(AFS(risk=risk, epochs=4), recipe=RECIPE).model for risk in (0.0, 50.0)]
    with torch.no_grad():
        plain, pure = (
            float(classification(student(query), query.label, task=GRADES)) for student in students
        )
    assert pure > plain


def test_only_the_chosen_part_of_the_retained_is_read(small: Any, unlearn: Any) -> None:
    trace = unlearn(AFS(fraction=0.25, epochs=2), recipe=RECIPE).trace
    part = round(0.25 * len(small.partition.retain))
    assert trace.samples["retain"] == part + 2 * part
    assert trace.steps == 2 * -(-part // 16)


@pytest.mark.parametrize(
    "wrong", [{"fraction": 0.0}, {"fraction": 1.5}, {"temperature": 0.0}, {"query_batches": 0}]
)
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(MethodError):
        AFS(**wrong)
