"""Models composed of towers, on small random towers that the tests make."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.batch import Batch
from forgetmi.core.errors import CheckpointError, MethodError, SpecError
from forgetmi.core.inputs import Tokens
from forgetmi.core.registry import towers as registry
from forgetmi.core.seeding import scope
from forgetmi.model.architecture import Architecture
from forgetmi.model.checkpoint import load, save
from forgetmi.model.composed import Composed
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.executing import executing
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.modes import learning
from forgetmi.model.prefix import Prefix, fixed_steps
from forgetmi.model.tower_options import read_towers
from forgetmi.model.tower_specs.convolutions import EfficientNetLite0Spec
from forgetmi.model.tower_specs.hf import HfTextSpec, HfVisionSpec
from forgetmi.model.tower_specs.measured import SeriesSpec, TableSpec
from forgetmi.model.tower_specs.protocol import TrainingData
from tests.model.test_hf_towers import PREPROCESSOR, TEXT, VISION, stored

KINDS = {
    "efficientnet_lite0": EfficientNetLite0Spec,
    "hf_text": HfTextSpec,
    "hf_vision": HfVisionSpec,
    "series": SeriesSpec,
    "table": TableSpec,
}
TABLE = TrainingData(("age", "sex"), np.array([[30.0, 0], [50.0, 1]]))


@pytest.fixture(autouse=True, scope="module")
def kinds() -> Iterator[None]:
    """Towers that an installation of an earlier version does not name yet."""
    added = [name for name in KINDS if name not in registry.names()]
    for name in added:
        registry.add(name, KINDS[name])
    yield
    for name in added:
        registry.remove(name)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Vision Transformer and a RoBERTa, stored as published ones are."""
    root = tmp_path_factory.mktemp("towers")
    stored(root / "vision", "vit", VISION["vit"])
    stored(root / "text", "roberta", TEXT["roberta"])
    rules = {**PREPROCESSOR, "crop_size": {"height": 32, "width": 32}}
    (root / "vision" / "preprocessor_config.json").write_text(json.dumps(rules))
    return root / "vision", root / "text"


def spec_of(folders: tuple[Path, Path], *, frozen: int = 0, table: bool = False) -> ComposedSpec:
    """Image and text, and perhaps a table."""
    vision, text = folders
    towers = [f"image=hf_vision:{vision},frozen={frozen}", f"text=hf_text:{text}"]
    if table:
        towers.append("table=table,categorical=sex,hidden=8,width=6")
    architecture = Architecture(towers=tuple(towers), width=10)
    return architecture.compose(classes=3, training=TABLE)


def samples() -> Batch:
    """Four samples of every modality; the second text is shorter."""
    draw = torch.Generator().manual_seed(0)
    mask = torch.ones(4, 6, dtype=torch.int64)
    mask[1, 3:] = 0
    numbers = torch.arange(4)
    inputs = {
        "image": torch.rand(4, 1, 32, 32, generator=draw),
        "text": Tokens(torch.randint(5, 40, (4, 6), generator=draw) * mask + (1 - mask), mask),
        "table": torch.tensor([[40.0, 1.0], [float("nan"), 0.0], [60.0, float("nan")], [1.0, 1.0]]),
    }
    return Batch(inputs, label=numbers % 3, study=numbers, row=numbers)


@torch.no_grad()
def test_two_towers_are_joined_by_the_gate_and_more_by_their_mean(
    folders: tuple[Path, Path],
) -> None:
    batch = samples()
    two = build(spec_of(folders), seed=0).eval()
    outputs = two(batch)
    assert list(outputs.named()) == [
        *("image_logits", "text_logits"),
        *("image_embedding", "text_embedding", "joint_embedding"),
    ]
    assert torch.equal(
        outputs.embedding["joint"],
        two.gate(outputs.embedding["image"], outputs.embedding["text"]),
    )
    assert torch.equal(two.joined(outputs.embedding), outputs.embedding["joint"])

    three = build(spec_of(folders, table=True), seed=0).eval()
    outputs = three(batch)
    each = torch.stack([outputs.embedding[name] for name in ("image", "text", "table")])
    assert torch.allclose(outputs.embedding["joint"], each.mean(0))
    assert three.joining == ()

    # The head of each stands on its embedding
    for name, head in three.heads.items():
        assert torch.allclose(head(outputs.embedding[name]), outputs.logits[name])


@torch.no_grad()
def test_a_sample_depends_on_no_other_and_a_missing_modality_is_in_no_mean(
    folders: tuple[Path, Path],
) -> None:
    model = build(spec_of(folders, table=True), seed=0).eval()
    batch = samples()
    outputs = model(batch)
    alone = model(batch.select(slice(1, 2)))
    for name, values in outputs.named().items():
        assert torch.allclose(alone.named()[name], values[1:2], atol=1e-5)

    # Without its film, the second sample's joint embedding is the mean of the other two
    there = torch.tensor([True, False, True, True])
    without = model(Batch(batch.inputs, batch.label, batch.study, batch.row, {"image": there}))
    others = (outputs.embedding["text"] + outputs.embedding["table"])[1] / 2
    assert torch.allclose(without.embedding["joint"][1], others, atol=1e-6)
    assert not without.embedding["image"][1].any()
    assert torch.allclose(without.embedding["joint"][0], outputs.embedding["joint"][0])

    # In parts, as several processes would compute them
    with executing(model, micro_batches=2):
        parts = model(batch)
    assert torch.allclose(parts.logits["text"], outputs.logits["text"], atol=1e-5)

    with pytest.raises(MethodError, match="the samples have no text"):
        model(Batch({"image": batch.image}, batch.label, batch.study, batch.row))


@torch.no_grad()
def test_batch_norms_of_a_tower_learn_from_the_films_that_are_there() -> None:
    towers = ("image=efficientnet_lite0:,random=true,size=32", "table=table,hidden=8,width=6")
    spec = Architecture(towers=towers, width=10).compose(classes=3, training=TABLE)
    batch = samples()
    there = torch.tensor([True, False, True, True])
    learned = []
    for fill in (0.0, 1.0):
        films = batch.image.where(there[:, None, None, None], fill)
        model = build(spec, seed=0).train()
        given = dataclasses.replace(batch.with_inputs(image=films), present={"image": there})
        with scope(0, "dropout"):
            outputs = model(given)
        assert not outputs.embedding["image"][1].any()
        learned.append(model.state_dict())

    fresh = build(spec, seed=0).state_dict()
    for name, value in learned[0].items():
        assert torch.equal(value, learned[1][name])
    moved = [name for name in fresh if not torch.equal(fresh[name], learned[0][name])]
    assert any(name.endswith("running_mean") for name in moved)


@torch.no_grad()
def test_word_embeddings_in_place_of_the_tokens(folders: tuple[Path, Path]) -> None:
    model = build(spec_of(folders), seed=0).eval()
    batch = samples()
    words = model.embed(batch, "text")
    assert torch.equal(words, model.get_submodule(model.words)(batch.tokens))
    assert torch.allclose(
        model(batch, text_inputs=words).logits["text"], model(batch).logits["text"], atol=1e-6
    )
    assert torch.equal(model.embed(batch, "image"), batch.image)


def test_a_fresh_model_has_the_public_weights_and_random_rest_by_its_seed(
    folders: tuple[Path, Path],
) -> None:
    spec = spec_of(folders)
    one, again, other = build(spec, seed=1), build(spec, seed=1), build(spec, seed=2)
    assert parameter_digest(one) == parameter_digest(again)

    public = spec.tower("image").pretrained()
    for model in (one, other):
        for name, value in public.items():
            assert torch.equal(model.state_dict()[f"towers.image.{name}"], value)
    assert not torch.equal(one.heads["image"].weight, other.heads["image"].weight)

    # Any part begins anew alone, and is then that of a fresh model
    moved = copy.deepcopy(other)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.add_(1.0)
    for part in moved.parts().values():
        assert part.fresh is not None
    moved.start_afresh(seed=2, names=("towers.image.model.layers.0", "classifiers.text", "gate"))
    for name, value in moved.state_dict().items():
        begun = name.startswith(("towers.image.model.layers.0.", "classifiers.text.", "gate."))
        if begun:
            assert torch.equal(value, other.state_dict()[name])
    assert not torch.equal(moved.heads["image"].weight, other.heads["image"].weight)
    with pytest.raises(SpecError, match=r"no module .towers\.images."):
        moved.start_afresh(seed=2, names=("towers.images",))


def test_frozen_stages_do_not_move_draw_no_dropout_and_can_be_computed_once(
    folders: tuple[Path, Path],
) -> None:
    model = build(spec_of(folders, frozen=2), seed=0)
    learning(model)
    first, second, third = model.steps("image")[:3]
    assert not any(
        weight.requires_grad for weight in (*first[0].parameters(), *second[0].parameters())
    )
    assert not first[0].training
    assert third[0].training

    # Of the text tower, which has dropout and moves, no step is fixed
    assert fixed_steps(model.steps("image")) == 2
    assert fixed_steps(model.steps("text")) == 0

    model.eval()
    batch = samples()
    with torch.no_grad():
        whole = model(batch)
        prefix = Prefix(2, of_texts=False)
        prefix.keep(batch, model.encode(batch, "image", stop=2))
        with executing(model, prefixes={"image": prefix}):
            again = model(batch)
    assert torch.equal(again.logits["image"], whole.logits["image"])

    with pytest.raises(SpecError, match="99 stages of the image tower"):
        build(spec_of(folders, frozen=99), seed=0)


def test_a_text_prefix_is_padded_as_the_batch_is(folders: tuple[Path, Path]) -> None:
    model = build(spec_of(folders), seed=0).eval()
    batch = samples()
    with torch.no_grad():
        whole = model(batch.select(slice(1, 3)))
        prefix = Prefix(2)
        prefix.keep(batch, model.encode(batch, "text", stop=2))
        with executing(model, prefixes={"text": prefix}):
            again = model(batch.select(slice(1, 3)))
    assert torch.allclose(again.logits["text"], whole.logits["text"], atol=1e-6)


def test_a_tower_that_is_frozen_throughout_has_seen_nobody(folders: tuple[Path, Path]) -> None:
    parts = build(spec_of(folders, frozen=4), seed=0).parts()
    assert not parts["tower:image"].saw_patients
    assert parts["tower:text"].saw_patients
    assert parts["rest"].names == ("projections.image.weight", "projections.image.bias")

    # Every tensor is in one part
    model = build(spec_of(folders, frozen=4), seed=0)
    names = [name for part in parts.values() for name in part.names]
    assert sorted(names) == sorted(model.state_dict())


def test_recomputed_activations_give_the_same_gradients(folders: tuple[Path, Path]) -> None:
    batch = samples()
    gradients = []
    for recompute in (False, True):
        model = build(spec_of(folders), seed=0).eval()
        with executing(model, recompute=recompute):
            model(batch).logits["image"].square().sum().backward()
        gradients.append(model.tower("image").model.embeddings.cls_token.grad)
    assert torch.allclose(*gradients)


def test_a_checkpoint_holds_everything_and_needs_no_folder(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    model = build(spec_of(folders, table=True), seed=0).eval()
    digest = save(
        tmp_path / "model",
        model,
        vocabulary=["{}"],
        preprocessing={"task": "classes"},
        classes=["a", "b", "c"],
    )

    # The folders of its towers are named, and never read
    loaded = load(tmp_path / "model", expect=model.spec)
    assert isinstance(loaded.model, Composed)
    assert loaded.digest == digest == parameter_digest(loaded.model)
    batch = samples()
    with torch.no_grad():
        for name, values in model(batch).named().items():
            assert torch.equal(loaded.model(batch).named()[name], values)

    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["spec"]["kind"] == "composed"
    table = facts["spec"]["towers"][2]
    assert (table["mean"], table["std"], table["categories"]) == ([40.0, 0.0], [10.0, 1.0], [0, 2])

    with pytest.raises(CheckpointError, match="another architecture"):
        load(tmp_path / "model", expect=spec_of(folders))


@pytest.mark.parametrize(
    ("towers", "message"),
    [
        (("image",), "names no tower"),
        (("image=vit:x",), "no tower named 'vit'"),
        (("image=hf_vision:x,pool=mean",), "unknown key 'pool'.*pooling"),
        (("image=hf_vision:x,pooling=max",), "pooling does not fit"),
        (("image=hf_vision:x,frozen=few",), "frozen does not fit"),
        (("text=hf_vision:x",), "the tower of text reads image"),
        (("table=table", "table=table"), "table has several towers"),
        (("image=hf_vision",), "no pretrained weights are named"),
        (("smell=table",), "there is no modality 'smell'"),
        (("image=hf_vision:none",), "the tower's folder cannot be found.*download=true"),
    ],
)
def test_towers_that_are_named_wrongly_are_refused(towers: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){message}"):
        Architecture(towers=towers).compose(classes=2, training=TABLE)


def test_options_of_the_preset_do_not_go_with_towers() -> None:
    with pytest.raises(SpecError, match="stem_stride, hidden cannot be chosen"):
        Architecture(towers=("table=table",), stem_stride=2, hidden=8).compose(
            classes=2, training=TABLE
        )


def test_options_of_a_tower_are_of_their_type() -> None:
    ((modality, spec),) = read_towers(["table=table,categorical=sex+site,hidden=8+4,dropout=0.5"])
    assert modality == "table"
    assert (spec.categorical, spec.hidden, spec.dropout) == (("sex", "site"), (8, 4), 0.5)


def test_a_stored_specification_that_was_changed_is_refused(folders: tuple[Path, Path]) -> None:
    plain: dict[str, Any] = json.loads(json.dumps(spec_of(folders).to_plain()))
    assert ComposedSpec.from_plain(plain) == spec_of(folders)

    for change, message in (
        ({"width": True}, "another kind"),
        ({"towers": []}, "needs a tower"),
        ({"towers": [{"modality": "image", "kind": "none"}]}, "no tower named"),
        ({"towers": [{**plain["towers"][0], "config": "{}"}]}, "no encoder that is read"),
        ({"colour": 1}, "unknown keys"),
    ):
        with pytest.raises(SpecError, match=message):
            ComposedSpec.from_plain({**plain, **change})
