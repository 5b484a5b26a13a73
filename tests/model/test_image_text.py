from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from forgetmi.core.errors import SpecError
from forgetmi.model.image_text import ImageText, head_of, parameter_digest
from forgetmi.model.initial_weights import initialise
from forgetmi.model.initialise import build
from forgetmi.model.net_module import depth_order
from forgetmi.model.spec import ModelSpec, compact, paper


def test_forward_shapes_and_gate(spec, samples):
    model = build(spec, seed=0).eval()
    out = model(samples(5, batch_size=5).all)
    assert out.image_logits.shape == out.text_logits.shape == (5, 4)
    assert (
        out.image_embedding.shape == out.text_embedding.shape == out.joint_embedding.shape == (5, 8)
    )
    assert torch.equal(out.joint_embedding, model.gate(out.image_embedding, out.text_embedding))


def test_text_inputs_replace_the_tokens(spec, samples):
    model, batch = build(spec, seed=0).eval(), samples(3, batch_size=3).all
    plain, same = model(batch), model(batch, text_inputs=model.text_model.embed(batch.tokens))
    other = model(batch, text_inputs=model.text_model.embed(batch.tokens) + 1)
    assert torch.equal(plain.text_logits, same.text_logits)
    assert not torch.equal(plain.text_logits, other.text_logits)
    assert torch.equal(plain.image_logits, other.image_logits)


def test_build_is_a_function_of_the_seed_and_leaves_the_generator_alone(spec):
    before = torch.get_rng_state()
    first, again, other = (build(spec, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert parameter_digest(first) == parameter_digest(again) != parameter_digest(other)
    assert all(
        value.is_contiguous() and value.dtype in (torch.float32, torch.int64)
        for value in first.state_dict().values()
    )


def test_every_drawn_parameter_has_its_own_stream(spec):
    model = build(spec, seed=0)
    drawn = [
        p.flatten()[:4]
        for name, p in model.named_parameters()
        if p.ndim > 1 and "embeddings" not in name
    ]
    assert len({tuple(values.tolist()) for values in drawn}) == len(drawn)


@pytest.mark.parametrize(
    "names",
    [
        ["img_model.layer2"],
        ["img_model.fc1", "text_model.classifier"],
        ["gate"],
        ["text_model.bert.encoder.layer.0", "img_model.bn1"],
        None,
    ],
)
def test_initialise_by_name_equals_a_fresh_model(spec, names):
    fresh, model = build(spec, seed=9).state_dict(), build(spec, seed=1)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(7)
    initialise(model, seed=9, names=names)
    for name, value in model.state_dict().items():
        inside = names is None or any(name.startswith(f"{one}.") for one in names)
        assert torch.equal(value, fresh[name] if inside else torch.full_like(value, 7)), name


@torch.no_grad()
def test_initialisers_have_the_documented_spread(spec):
    model = build(compact(4, 300), seed=0)
    conv = model.img_model.get_submodule("layer4.1.conv2").weight
    assert float(conv.std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert float(model.text_model.bert.pooler.dense.weight.std()) == pytest.approx(0.02, rel=0.02)
    assert float(model.gate.fc2.weight.abs().max()) == pytest.approx(1 / 16, rel=0.01)
    assert float(model.text_model.bert.embeddings.word_embeddings.weight[0].abs().sum()) == 0.0
    assert float(model.text_model.classifier.bias.abs().sum()) == 0.0


def test_unknown_names_are_listed_with_the_nearest(spec):
    with pytest.raises(SpecError, match=r"Did you mean 'img_model.layer2'") as caught:
        initialise(build(spec, seed=0), seed=0, names=["img_model.layer3", "gaet"])
    assert len(caught.value.faults) == 2


def test_depth_order_is_the_order_of_the_forward_pass(spec, samples):
    text = replace(spec.text, layers=2, hidden=16)  # 16 != 8: with the projection
    model = build(replace(spec, text=text), seed=0).eval()
    seen: list[str] = []
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    model(samples(2, batch_size=2).all)
    gate = [f"gate.{name}" for name, _ in model.gate.named_modules() if name]
    order = {**depth_order(model), "joint": tuple(gate)}
    # Embeddings are summed and query, key and value run side by side: their order among themselves means nothing.
    sides = ("embeddings.word", "embeddings.position", "embeddings.token", "query", "key", "value")
    for branch, root in (("image", "img_model."), ("text", "text_model."), ("joint", "gate.")):
        run = [name for name in seen if name.startswith(root)]
        assert sorted(run) == sorted(order[branch])
        deep = [
            [n for n in names if not any(side in n for side in sides)]
            for names in (run, order[branch])
        ]
        assert deep[0] == deep[1]
    owned = {name for name, _ in model.named_parameters()}
    listed = {
        f"{layer}.{own}"
        for names in order.values()
        for layer in names
        for own, _ in model.get_submodule(layer).named_parameters(recurse=False)
    }
    assert owned == listed
    assert isinstance(model.get_submodule(order["image"][-1]), nn.Linear)


def test_spec_survives_json_and_refuses_what_does_not_fit():
    for spec in (compact(3, 500), paper(4, 31_090)):
        assert ModelSpec.from_plain(json.loads(json.dumps(spec.to_plain()))) == spec
    plain = compact(3, 500).to_plain()
    del plain["image"]["blocks"]
    plain["text"]["hiden"] = 3
    plain["text"]["layers"] = "2"
    plain["classes"] = True
    with pytest.raises(SpecError, match="Did you mean 'hidden'") as caught:
        ModelSpec.from_plain(plain)
    assert len(caught.value.faults) == 4
    with pytest.raises(SpecError, match="must be a mapping"):
        ModelSpec.from_plain([1])
    with pytest.raises(SpecError, match="fewer outputs than none"):
        ModelSpec(classes=-1)


def test_digest_sees_every_byte(spec):
    model = build(spec, seed=0)
    first = parameter_digest(model)
    assert len(first) == 64
    model.img_model.bn1.num_batches_tracked += 1
    second = parameter_digest(model)
    with torch.no_grad():
        model.gate.norm.bias[0] += 1e-7
    assert len({first, second, parameter_digest(model)}) == 3


def test_release_branch_names():
    with torch.device("meta"):
        names = {name.split(".")[0] for name in ImageText(compact(4, 60)).state_dict()}
    assert names == {"img_model", "text_model", "gate"}
    assert {"text_model.classifier.weight", "text_model.bert.pooler.dense.weight"} <= set(
        ImageText(compact(4, 60)).state_dict()
    )


def test_the_tensors_of_a_head_are_told_from_the_others(spec):
    named = {head: set() for head in ("image", "text", "")}
    for name in build(spec, seed=0).state_dict():
        named[head_of(name)].add(name)

    assert named["image"] == {"img_model.fc1.weight", "img_model.fc1.bias"}
    assert named["text"] == {"text_model.classifier.weight", "text_model.classifier.bias"}
    assert "gate.fc1.weight" in named[""]  # a layer of the same name elsewhere
    assert head_of("parts.0.img_model.fc1.bias") == "image"  # of an ensemble
