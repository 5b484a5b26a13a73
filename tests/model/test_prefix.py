"""Where an encoder may be cut, and that both parts together are the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from forgetmi.model.executing import executing
from forgetmi.model.initialise import build
from forgetmi.model.prefix import Prefix, fixed_steps


def test_both_parts_of_an_encoder_are_the_whole(spec, samples):
    model = build(replace(spec, text=replace(spec.text, layers=3)), seed=0).eval()
    batch = samples(4, batch_size=4).all
    whole = model(batch)
    encoders = {"image": model.img_model, "text": model.text_model}
    for name, encoder in encoders.items():
        for start in range(1, len(encoder.steps()) + 1):
            first = (
                encoder.encode(batch.image, stop=start)
                if name == "image"
                else encoder.encode(batch.tokens, batch.mask, stop=start)
            )
            prefix = Prefix(start)
            prefix.keep(batch, first)
            with executing(model, prefixes={name: prefix}):
                parts = model(batch)
            assert torch.equal(parts.joint_embedding, whole.joint_embedding), (name, start)
            assert torch.equal(parts.text_logits, whole.text_logits), (name, start)
            assert torch.equal(parts.image_logits, whole.image_logits), (name, start)


def test_rows_that_are_not_held_are_refused(spec, samples):
    model = build(spec, seed=0).eval()
    batch = samples(4, batch_size=4).all
    with pytest.raises(KeyError), executing(model, prefixes={"image": Prefix(1)}):
        model(batch)


def test_steps_are_fixed_up_to_the_first_that_moves_learns_or_drops():
    def steps(number: int, module: nn.Module) -> int:
        parts = [
            (nn.Linear(2, 2),),
            (nn.Sequential(nn.BatchNorm2d(2)), nn.Dropout(0.0)),
            (nn.ReLU(),),
        ]
        for modules in parts:
            nn.ModuleList(modules).requires_grad_(False).eval()
        parts[number] = (*parts[number], module)
        return fixed_steps(parts)

    assert steps(0, nn.Dropout(0.0)) == 3
    assert steps(1, nn.Linear(2, 2)) == 1
    assert steps(2, nn.Dropout(0.5)) == 2
    assert steps(2, nn.Dropout(0.5).eval()) == 3
    assert steps(0, nn.BatchNorm2d(2).requires_grad_(False)) == 0
    assert steps(1, nn.BatchNorm2d(2).eval()) == 1
