"""Encoders that are compiled give the same outputs; those that cannot be run as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from forgetmi.model import compiling
from forgetmi.model.executing import executing
from forgetmi.model.initialise import build
from forgetmi.model.memory_layout import channels_last, channels_together
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.model.train import fit


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each compilation; what is compiled is the function itself."""
    found: list[dict[str, Any]] = []

    def compile_(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        found.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    return found


def test_each_encoder_and_each_copy_is_compiled_once(spec, samples, compilations) -> None:
    model = build(spec, seed=0).eval()
    batch = samples(8, batch_size=8).all
    plain = model(batch).named()
    assert not compilations

    with executing(model, compile="graphs"):
        model(batch)
        outputs = model(batch).named()
        assert compilations == 2 * [{"mode": "reduce-overhead", "dynamic": False}]
        copy.deepcopy(model)(batch)
        assert len(compilations) == 4
    assert all(torch.equal(outputs[name], plain[name]) for name in plain)

    # Not after the block
    model(batch)
    assert model.img_model._compiled_call_impl is None


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so_once(
    spec, samples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torch._dynamo.exc import TorchDynamoException

    tries: list[int] = []

    def compile_(function: Any, **options: Any) -> Callable[..., Any]:
        def fails(*args: Any, **kwargs: Any) -> None:
            tries.append(1)
            raise TorchDynamoException("no compiler")

        return fails

    monkeypatch.setattr(torch, "compile", compile_)
    compiling._tell.cache_clear()
    model = build(spec, seed=0).eval()
    batch = samples(8, batch_size=8).all
    plain = model(batch).named()
    with executing(model, compile="on"), caplog.at_level("WARNING", logger="forgetmi"):
        model(batch)
        outputs = model(batch).named()
    assert all(torch.equal(outputs[name], plain[name]) for name in plain)
    assert len(tries) == 2
    assert sum("could not be compiled" in record.message for record in caplog.records) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["on", "graphs"])
def test_a_compiled_training_ends_where_a_plain_one_does(
    spec, samples, how: Any, caplog: pytest.LogCaptureFixture
) -> None:
    compiling._tell.cache_clear()

    def trained(how: Any) -> dict[str, Tensor]:
        model = build(spec, seed=0)
        with executing(model, compile=how):
            fit(model, samples(16, batch_size=8), Recipe(epochs=2), seed=0, task=GRADES)
            with torch.no_grad():
                outputs = model(samples(16, batch_size=8).all).named()
        return outputs

    with caplog.at_level("WARNING", logger="forgetmi"):
        plain, fast = trained("off"), trained(how)
    assert not [record for record in caplog.records if "compiled" in record.message]
    for name in plain:
        assert (fast[name] - plain[name]).abs().max() <= 1e-3 * plain[name].abs().max()


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_keep_the_channels_of_a_pixel_together(channels: int) -> None:
    images = torch.rand(2, channels, 16, 16)
    together = channels_together(images)
    assert torch.equal(together, images)
    assert channels_last(images) is images  # a processor's stay as they are

    # What a convolution makes of them lies alike
    convolution = torch.nn.Conv2d(channels, 8, 3, padding=1).requires_grad_(False)
    made, plain = convolution(together), convolution(images)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert plain.is_contiguous()
    assert torch.allclose(made, plain, atol=1e-5)
