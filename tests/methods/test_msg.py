"""MSG: which weights start afresh, and how the others follow."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.methods.msg import MSG, afresh, layers, triangle
from forgetmi.model.image_text import ImageText
from forgetmi.model.initial_weights import initialise
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.importance import summed_gradient
from tests.unlearning.reading import loaders


def test_exactly_the_shares_of_the_smallest_gradients_are_chosen(
    small: Any, memorised: ImageText
) -> None:
    sets = loaders(small, "labels")
    masks = MSG(image_share=0.3, text_share=0.05).choose(memorised, sets, task=GRADES)
    like = np.sort(sets.retain.random(0, len(sets.forget.rows)))
    lost, held = (
        summed_gradient(memorised, one.batches(rows), task=GRADES)
        for one, rows in ((sets.forget, sets.forget.rows), (sets.retain, like))
    )
    kernels = {
        f"{name}.weight"
        for name, module in memorised.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert kernels < set(masks)
    for name, mask in masks.items():
        gradient = (held[name] - lost[name]).abs()
        assert int(mask.sum()) == int((0.3 if name in kernels else 0.05) * mask.numel()), name
        if bool(mask.any()):
            assert float(gradient[mask].max()) <= float(gradient[~mask].min()), name


def test_chosen_weights_are_those_of_a_fresh_model_and_all_others_stay(
    small: Any, memorised: ImageText
) -> None:
    masks = MSG().choose(memorised, loaders(small, "labels"), task=GRADES)
    student, fresh = copy.deepcopy(memorised), copy.deepcopy(memorised)
    afresh(student, masks, seed=77)
    initialise(fresh, seed=77)
    old, new, other = memorised.state_dict(), student.state_dict(), fresh.state_dict()
    for name, values in new.items():
        mask = masks.get(name, torch.zeros_like(values, dtype=torch.bool))
        assert torch.equal(values[~mask], old[name][~mask]), name
        assert torch.equal(values[mask], other[name][mask]), name
    assert sum(int((new[name] != old[name]).sum()) for name in masks) == sum(
        int(m.sum()) for m in masks.values()
    )


def test_of_the_text_encoder_only_the_last_layers(memorised: ImageText) -> None:
    text = [name for name in layers(memorised, text_k=2) if name.startswith("text_model.")]
    assert text == ["text_model.bert.pooler.dense", "text_model.classifier"]
    assert all(name.startswith("img_model.") for name in layers(memorised, text_k=0))


def test_kept_weights_stay_where_their_factor_is_zero(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    done = unlearn(MSG(kept=0.0, epochs=1))
    masks = MSG().choose(memorised, loaders(small, "labels"), task=GRADES)
    old, new = memorised.state_dict(), done.model.state_dict()
    assert all(torch.equal(new[name][~mask], old[name][~mask]) for name, mask in masks.items())
    assert "img_model.fc1.weight" in done.trace.changed
    assert any("running_" in name for name in done.trace.changed)


def test_training_repairs_the_model(small: Any, unlearn: Any) -> None:
    trace = unlearn(MSG(epochs=4)).trace
    assert trace.epochs[-1]["retain"] < trace.epochs[0]["retain"]
    forgotten = len(small.partition.forget)
    assert trace.samples == {
        "forget": forgotten,
        "retain": forgotten + 4 * len(small.partition.retain),
    }


def test_the_rate_rises_and_falls() -> None:
    assert [triangle(epoch, 5) for epoch in range(5)] == pytest.approx(
        [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]
    )
    assert [triangle(epoch, 2) for epoch in range(2)] == pytest.approx([1, 1 / 2])
    assert triangle(0, 1) == 1


def test_a_last_batch_of_one_sample_can_be_trained_on(small: Any, unlearn: Any) -> None:
    size = len(small.partition.retain) - 1
    assert unlearn(MSG(epochs=1), batch_size=size).trace.steps == 1


@pytest.mark.parametrize(
    "options", [{"image_share": 1.5}, {"text_share": -0.1}, {"kept": 2.0}, {"text_k": -1}]
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MethodError):
        MSG(**options)
