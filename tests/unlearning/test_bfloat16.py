"""Unlearning in bfloat16: which forward passes, how close, and what keeps float32."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from forgetmi.core.registry import methods
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.unlearning.bfloat16 import lower, lowered, restore
from forgetmi.unlearning.method import Method
from forgetmi.unlearning.teacher import frozen
from tests.methods.conftest import Unlearn

BF16 = Recipe(epochs=2, bf16=True)


def quick(name: str) -> Method:
    method = methods.get(name)()
    wanted = {"epochs": 4, "copies": 3}
    return dataclasses.replace(
        method, **{f.name: wanted[f.name] for f in dataclasses.fields(method) if f.name in wanted}
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What each convolution and each whole forward pass gives, type by type, and whether a gradient was asked for."""
    found: dict[str, list[Any]] = {"inside": [], "outside": []}
    inner, outer = nn.Conv2d.forward, ImageText.__call__

    def inside(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        y = inner(self, x)
        found["inside"].append((y.dtype, y.requires_grad))
        return y

    def outside(self: ImageText, *given: Any, **more: Any) -> Any:
        out = outer(self, *given, **more)
        found["outside"].extend(values.dtype for values in out.named().values())
        return out

    monkeypatch.setattr(nn.Conv2d, "forward", inside)
    monkeypatch.setattr(ImageText, "__call__", outside)
    return found


def test_every_forward_pass_of_forget_mi_and_no_loss_is_in_bfloat16(
    unlearn: Unlearn,
    seen: dict[str, list[Any]],
) -> None:
    """Student (with gradients), teacher's tables and calibration (without)."""
    model = unlearn(ForgetMI(epochs=2), recipe=BF16).model
    assert set(seen["inside"]) == {(torch.bfloat16, True), (torch.bfloat16, False)}
    assert set(seen["outside"]) == {torch.float32}
    assert {value.dtype for value in model.state_dict().values()} <= {torch.float32, torch.int64}


def test_nothing_is_in_bfloat16_unless_asked_for(
    unlearn: Unlearn, seen: dict[str, list[Any]]
) -> None:
    unlearn(ForgetMI(epochs=2))
    assert {dtype for dtype, _ in seen["inside"]} == {torch.float32}


def test_nothing_is_left_on_a_model(unlearn: Unlearn, memorised: ImageText) -> None:
    for model in (unlearn(ForgetMI(epochs=1), recipe=BF16).model, memorised):
        assert "forward" not in vars(model)


def test_an_error_leaves_nothing_on_the_original(memorised: ImageText) -> None:
    with pytest.raises(KeyboardInterrupt), lowered(memorised, on=True):
        raise KeyboardInterrupt
    assert "forward" not in vars(memorised)


def test_copies_run_their_own_weights(small: Any, memorised: ImageText) -> None:
    batch = small.prepared.records.batch(small.partition.retain[:4])
    model = lower(copy.deepcopy(memorised))
    teacher = frozen(model)
    with torch.no_grad():
        before = model(batch).image_logits
        model.img_model.fc1.weight.zero_()  # a step, as far as a forward pass can tell
        assert not bool(torch.equal(model(batch).image_logits, before))
        assert bool(torch.equal(teacher(batch).image_logits, before))
        assert bool(
            torch.equal(restore(teacher)(batch).image_logits, memorised(batch).image_logits)
        )


def test_a_forward_pass_is_close_to_the_one_in_float32(small: Any, memorised: ImageText) -> None:
    """By the mean error in parts of the mean value; a step of bfloat16 is 0.4 %, and the image encoder is deeper."""
    batch = small.prepared.records.batch(small.partition.holdout)
    with torch.no_grad():
        full = memorised(batch)
        with lowered(memorised, on=True):
            low = memorised(batch)
    for name, most in (
        ("text_logits", 0.01),
        ("text_embedding", 0.01),
        ("image_logits", 0.1),
        ("image_embedding", 0.1),
        ("joint_embedding", 0.15),
    ):
        one, other = getattr(full, name), getattr(low, name)
        assert 0 < float((other - one).norm()) < most * float(one.norm()), name


@pytest.mark.parametrize(
    "name",
    [
        *("forget_mi", "jit", "calibrated_consensus"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("delete", "neg_grad", "cf_k")),
    ],
)
def test_it_goes_the_way_it_goes_in_float32(
    name: str, memorised: ImageText, unlearn: Unlearn
) -> None:
    """Measured in the weights, all of which rounding would have to turn: a few logits swing with the last digit.

    A result that went another way would be sqrt 2 apart, one that stayed where it was 1.
    """
    full, low = unlearn(quick(name)), unlearn(quick(name), recipe=BF16)
    assert parameter_digest(low.model) != parameter_digest(full.model)
    assert all(
        bool(torch.isfinite(p).all()) and p.dtype == torch.float32 for p in low.model.parameters()
    )
    old, one, other = (
        nn.utils.parameters_to_vector(model.parameters()).detach().double()
        for model in (memorised, full.model, low.model)
    )
    assert float((other - one).norm()) < 0.7 * float((one - old).norm())
    assert low.trace.moved == pytest.approx(full.trace.moved, rel=0.2)


@pytest.mark.parametrize("name", ["newton_heads", "ssd", "chip"])
def test_a_closed_form_keeps_every_digit(name: str, unlearn: Unlearn) -> None:
    full, low = (
        unlearn(methods.get(name)(), recipe=recipe).model for recipe in (Recipe(epochs=2), BF16)
    )
    assert parameter_digest(low) == parameter_digest(full)
