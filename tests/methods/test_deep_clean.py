"""DeepClean: which weights are cleared, and that no other moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.errors import MethodError
from forgetmi.methods.deep_clean import DeepClean, choose
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.net_module import branches
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.importance import squared_gradients
from tests.unlearning.reading import loaders, training_loss

ENCODERS = {"image": ("img_model.w", "img_model.b"), "text": ("text_model.w",)}


def test_choice_by_hand() -> None:
    forget = {
        "img_model.w": torch.tensor([[1.0, 6.0, 0.0, 3.0]]),
        "img_model.b": torch.tensor([99.0]),
    }
    retain = {
        "img_model.w": torch.tensor([[1.0, 3.0, 0.0, 1.0]]),
        "img_model.b": torch.tensor([1e-3]),
    }
    assert choose(forget, retain, ENCODERS, share=0.5)["img_model.w"].tolist() == [
        [False, True, False, True]
    ]
    assert "img_model.b" not in choose(forget, retain, ENCODERS, share=1.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.integers(-20, 20))
def test_the_choice_has_its_size_and_no_scale(seed: int, share: float, exponent: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    forget, retain = (
        {
            f"{root}.w": torch.rand(*shape, generator=draw)
            for root, shape in (("img_model", (5, 7)), ("text_model", (3, 9)))
        }
        for _ in range(2)
    )
    masks = choose(forget, retain, ENCODERS, share=share)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "img_model.w": int(share * 35),
        "text_model.w": int(share * 27),
    }
    scaled = choose(
        *(
            {name: values * 2.0**exponent for name, values in one.items()}
            for one in (forget, retain)
        ),
        ENCODERS,
        share=share,
    )
    assert all(torch.equal(masks[name], scaled[name]) for name in masks)


def test_importance_to_no_one_retained_is_chosen_first() -> None:
    forget, retain = (
        {"img_model.w": torch.tensor([[1.0, 1e-6, 1.0]])},
        {"img_model.w": torch.tensor([[1.0, 0, 0.5]])},
    )
    assert choose(forget, retain, ENCODERS, share=0.34)["img_model.w"].tolist() == [
        [False, True, False]
    ]
    nothing = {"img_model.w": torch.zeros(1, 3)}
    assert int(choose(nothing, nothing, ENCODERS, share=0.34)["img_model.w"].sum()) == 1


def test_outside_the_mask_everything_stays_and_inside_it_is_learned_again(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
) -> None:
    done = unlearn(DeepClean(share=0.05, epochs=1, lr=3e-5, weight_decay=0.0), batch_size=1000)
    sets = loaders(small, "labels")
    forget, retain = (
        squared_gradients(memorised, one, each="sample", task=GRADES)[0]
        for one in (sets.forget, sets.retain)
    )
    masks, old, new = (
        choose(forget, retain, branches(memorised), share=0.05),
        memorised.state_dict(),
        done.model.state_dict(),
    )
    for name, values in new.items():
        mask = masks.get(name, torch.zeros_like(values, dtype=torch.bool))
        assert torch.equal(old[name][~mask], values[~mask]), name
    learned = torch.cat([new[name][mask] for name, mask in masks.items()])
    assert float((learned != 0).float().mean()) > 0.5
    assert (
        training_loss(small, done.model) < 0.9999 * done.trace.epochs[0]["retain"]
    )  # one small step


def test_clearing_nothing_is_the_identity(memorised: ImageText, unlearn: Any) -> None:
    assert parameter_digest(unlearn(DeepClean(share=0.0, epochs=1)).model) == parameter_digest(
        memorised
    )
    with pytest.raises(MethodError, match="share"):
        DeepClean(share=-0.1)
