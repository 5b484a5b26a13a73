"""CT: what is transposed, and that doing so twice is the identity."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.methods import ct
from forgetmi.methods.ct import CT, transpose
from forgetmi.methods.msg import layers
from forgetmi.model.image_text import ImageText, parameter_digest


@pytest.mark.parametrize("text_k", [0, 8])
def test_twice_is_the_identity_bit_for_bit(memorised: ImageText, text_k: int) -> None:
    student = copy.deepcopy(memorised)
    changed = transpose(student, text_k=text_k)
    assert parameter_digest(student) != parameter_digest(memorised)
    assert transpose(student, text_k=text_k) == changed
    assert parameter_digest(student) == parameter_digest(memorised)


def test_kernels_and_square_matrices_at_the_top_are_transposed_and_nothing_else(
    memorised: ImageText,
) -> None:
    student = copy.deepcopy(memorised)
    changed = transpose(student, text_k=8)
    old, new, found = memorised.state_dict(), student.state_dict(), set()
    for name, values in old.items():
        if not torch.equal(new[name], values):
            assert torch.equal(new[name], values.transpose(-1, -2)), name
            assert new[name].is_contiguous()
            found.add(name.removesuffix(".weight"))
    kernels = {
        name
        for name, module in memorised.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
    }
    assert kernels <= found
    assert len(found) == changed
    assert found - kernels <= set(layers(memorised, text_k=8))
    assert all("embeddings" not in name for name in found)


def test_the_model_learns_to_use_the_kernels_again(small: Any, unlearn: Any) -> None:
    done = unlearn(CT(epochs=4))
    assert done.trace.epochs[-1]["retain"] < done.trace.epochs[0]["retain"]
    assert done.trace.samples == {"retain": 4 * len(small.partition.retain)}
    assert done.trace.facts["layers transposed"] > 0


def test_the_rate_falls_along_a_cosine(unlearn: Any, monkeypatch: Any) -> None:
    rates: list[float] = []
    monkeypatch.setattr(ct, "set_lr", lambda optimiser, lr: rates.append(lr))
    unlearn(CT(epochs=2, lr=1e-3))
    assert rates == pytest.approx([1e-3, 1e-3 * (1 + math.cos(math.pi / 2)) / 2])


def test_impossible_options_are_refused() -> None:
    with pytest.raises(MethodError, match="text_k"):
        CT(text_k=-1)
