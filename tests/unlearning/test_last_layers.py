"""CF-k and EU-k: which layers are the last k, and that the others stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import derive
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.eu_k import EUk
from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec
from forgetmi.run import workflow
from forgetmi.unlearning.last_layers import last_layers

STAGE = (
    "0.conv1",
    "0.bn1",
    "0.conv2",
    "0.bn2",
    "0.downsample.0",
    "0.downsample.1",
    "1.conv1",
    "1.bn1",
    "1.conv2",
    "1.bn2",
)


def below(model: ImageText, names: tuple[str, ...]) -> list[str]:
    """Names of all weights and buffers outside the named modules and the gate."""
    return [
        key
        for key in model.state_dict()
        if not key.startswith("gate.") and not any(key.startswith(f"{name}.") for name in names)
    ]


def test_six_and_eight_are_the_head_and_the_last_stage_or_transformer_layer() -> None:
    spec = ModelSpec(
        ResNetSpec(size=32, stem_width=4, widths=(4, 8, 8), pooling="global"),
        TextEncoderSpec(hidden=8, layers=2, heads=2, intermediate=16, vocabulary=20, positions=8),
    )
    names = last_layers(workflow.build(spec, seed=0), image_k=6, text_k=8)
    layer = "text_model.bert.encoder.layer.1."
    assert names == (
        *(f"img_model.layer3.{name}" for name in STAGE),
        "img_model.fc1",
        *(
            f"{layer}{name}"
            for name in (
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
                "attention.output.LayerNorm",
                "intermediate.dense",
                "output.dense",
                "output.LayerNorm",
            )
        ),
        "text_model.bert.pooler.dense",
        "text_model.classifier",
    )


def test_norm_layers_are_not_counted(memorised: ImageText) -> None:
    assert last_layers(memorised, image_k=1, text_k=0) == ("img_model.fc1",)
    assert last_layers(memorised, image_k=2, text_k=0) == (
        "img_model.layer3.1.conv2",
        "img_model.layer3.1.bn2",
        "img_model.fc1",
    )
    assert last_layers(memorised, image_k=0, text_k=1) == ("text_model.classifier",)


def test_all_layers_are_the_whole_of_both_branches(memorised: ImageText) -> None:
    assert below(memorised, last_layers(memorised, image_k=999, text_k=999)) == []
    counted = sum(
        isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
        for module in memorised.img_model.modules()
    )
    exactly, fewer = (last_layers(memorised, image_k=counted - less, text_k=0) for less in (0, 1))
    assert exactly[0] == "img_model.conv1"
    assert set(exactly) - set(fewer) == {"img_model.conv1", "img_model.bn1"}


@pytest.mark.parametrize(("image_k", "text_k"), [(0, 0), (-1, 3), (3, -1)])
def test_impossible_numbers_are_refused(memorised: ImageText, image_k: int, text_k: int) -> None:
    with pytest.raises(MethodError, match="no layer may move"):
        last_layers(memorised, image_k=image_k, text_k=text_k)


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_cf_k_moves_nothing_below_the_cut(memorised: ImageText, unlearn: Any, bn: Any) -> None:
    done = unlearn(CFk(image_k=3, text_k=2, epochs=2, bn=bn))
    moving = last_layers(memorised, image_k=3, text_k=2)
    gate = {f"gate.{name}" for name in memorised.gate.state_dict()}
    assert not set(done.trace.changed) & {*below(memorised, moving), *gate}
    weights = {f"{name}.weight" for name in moving}
    assert weights <= set(done.trace.changed)
    assert any("running_mean" in name for name in done.trace.changed) == (bn == "train")
    assert set(done.trace.samples) == {"retain"}
    assert all(parameter.requires_grad for parameter in done.model.parameters())


def test_eu_k_starts_the_last_layers_afresh_and_keeps_the_others(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
) -> None:
    start = unlearn(EUk(image_k=6, text_k=2), seed=11, recipe=Recipe(epochs=0)).model.state_dict()
    afresh = derive(11, "unlearn", "afresh")
    fresh, old = (
        workflow.build(small.prepared.spec, seed=afresh).state_dict(),
        memorised.state_dict(),
    )
    moving = last_layers(memorised, image_k=6, text_k=2)
    kept = below(memorised, moving)
    for name in start:
        assert torch.equal(start[name], old[name] if name in kept else fresh[name]), name
    assert not torch.equal(
        start["img_model.layer3.0.bn1.running_mean"], old["img_model.layer3.0.bn1.running_mean"]
    )
    assert not torch.equal(start["img_model.fc1.weight"], old["img_model.fc1.weight"])


def test_eu_k_trains_nothing_below_the_cut(memorised: ImageText, unlearn: Any) -> None:
    done = unlearn(EUk(image_k=3, text_k=2))
    moving = last_layers(memorised, image_k=3, text_k=2)
    assert not set(done.trace.changed) & set(below(memorised, moving))
    assert "img_model.layer3.1.bn1.running_mean" in done.trace.changed
    assert all(parameter.requires_grad for parameter in done.model.parameters())
