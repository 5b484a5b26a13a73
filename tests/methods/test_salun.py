"""SalUn: its mask, and random labels as its limit."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.methods.random_labels import RandomLabels
from forgetmi.methods.salun import SalUn
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.net_module import branches
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.importance import encoder_parameters, summed_gradient
from forgetmi.unlearning.masks import largest_by_encoder
from tests.unlearning.reading import loaders


@pytest.mark.parametrize(
    ("order", "bn", "redraw"), [("mixed", "eval", False), ("passes", "train", True)]
)
def test_with_all_weights_it_is_random_labels(
    unlearn: Any,
    order: Literal["mixed", "passes"],
    bn: Literal["eval", "train"],
    redraw: bool,
) -> None:
    whole = unlearn(SalUn(share=1.0, epochs=2, order=order, bn=bn, redraw=redraw))
    plain = unlearn(RandomLabels(epochs=2, lr=SalUn().lr, order=order, bn=bn, redraw=redraw))
    assert parameter_digest(whole.model) == parameter_digest(plain.model)
    assert plain.trace.moved > 0


def masks_of(
    small: Any, model: ImageText, share: float, *, reverse: bool = False
) -> dict[str, torch.Tensor]:
    forget = loaders(small, "labels").forget
    rows = forget.rows[::-1] if reverse else forget.rows
    gradient = summed_gradient(model, forget.batches(rows), task=GRADES)
    scores = {name: values.abs() for name, values in gradient.items()}
    return largest_by_encoder(scores, share, branches(model))


def test_weights_outside_the_mask_stay(small: Any, memorised: ImageText, unlearn: Any) -> None:
    done = unlearn(SalUn(share=0.2, epochs=2))
    masks, old, new = (
        masks_of(small, memorised, 0.2),
        memorised.state_dict(),
        done.model.state_dict(),
    )
    assert set(done.trace.changed) <= set(masks)
    for name, mask in masks.items():
        assert torch.equal(old[name][~mask], new[name][~mask]), name
    assert done.trace.moved > 0


def test_each_encoder_has_its_share_of_ones(small: Any, memorised: ImageText) -> None:
    masks = masks_of(small, memorised, 0.3)
    assert set(masks) == set(encoder_parameters(memorised))
    for root in ("img_model.", "text_model."):
        ones, size = (
            sum(int(count(mask)) for name, mask in masks.items() if name.startswith(root))
            for count in (torch.sum, torch.numel)
        )
        assert ones == int(0.3 * size)


def test_the_mask_does_not_depend_on_the_order_of_the_forgotten(
    small: Any, memorised: ImageText
) -> None:
    one, other = (masks_of(small, memorised, 0.3, reverse=reverse) for reverse in (False, True))
    differ = sum(int((one[name] != other[name]).sum()) for name in one)
    assert differ < 1e-3 * sum(mask.numel() for mask in one.values())


def test_no_weight_may_move(memorised: ImageText, unlearn: Any) -> None:
    assert parameter_digest(unlearn(SalUn(share=0.0, epochs=1)).model) == parameter_digest(
        memorised
    )
    with pytest.raises(MethodError, match="share"):
        SalUn(share=1.1)
