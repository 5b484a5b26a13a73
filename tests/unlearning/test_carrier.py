"""Carriers: what is in none does not move, their limits are what they must be, and what does not go is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from forgetmi.core.carrier import Carrier, read_carrier
from forgetmi.core.errors import CheckpointError, MethodError
from forgetmi.core.registry import methods
from forgetmi.methods.afs import AFS
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.chip import CHIP
from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.methods.newton_heads import NewtonHeads
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.rewind import Rewind
from forgetmi.methods.salun import SalUn
from forgetmi.methods.shrink_perturb import ShrinkPerturb
from forgetmi.methods.undo import Undo
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.losses import base_loss
from forgetmi.model.modes import learning
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.model.towers.same_conv import SameConv
from forgetmi.report.run_text import within_carrier
from forgetmi.run import workflow
from forgetmi.unlearning import adapters as room
from forgetmi.unlearning.adapter_files import with_adapters
from forgetmi.unlearning.adapters import adapted_layers, adapters, factors, merge_adapters
from forgetmi.unlearning.carrier import carry, last_stages, moving, untouched
from forgetmi.unlearning.carrier_applies import check_training, coverage, why_not
from forgetmi.unlearning.info import MethodInfo
from tests.conftest import Small, prepare_small
from tests.contract.foreign import films, prepared_for, ward
from tests.public_towers import on_tower, published

RECIPE = Recipe(epochs=2)
HEADS = {"img_model.fc1.weight", "img_model.fc1.bias"}
HEADS |= {"text_model.classifier.weight", "text_model.classifier.bias"}


@pytest.fixture(scope="module")
def small(_own_cache: None) -> Small:
    """The fewest patients with which every set has some."""
    return prepare_small(patients=16, forget=20.0)


@pytest.fixture(scope="module")
def original(small: Any) -> ImageText:
    """Untrained: what moves does not depend on what was learned."""
    return build(small.prepared.spec, seed=3).eval()


@pytest.fixture(scope="module")
def public(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The small cohort for an image model on a "published" Vision Transformer, from so many frozen stages."""
    folder = tmp_path_factory.mktemp("public")
    with published(folder):
        yield lambda frozen, *more: on_tower(
            small.prepared, folder, ",".join([f"frozen={frozen}", *more])
        )


def run(small: Any, model: Any, method: Any, carrier: str, **more: Any) -> Any:
    settings = {"prepared": small.prepared, "recipe": RECIPE, "seed": 5, **more}
    return workflow.unlearn(
        partition=small.partition, model=model, method=method, carrier=carrier, **settings
    )


def apart(one: nn.Module, two: nn.Module) -> set[str]:
    """Names of tensors that differ, but for those of the gate."""
    other = two.state_dict()
    names = {
        name for name, value in one.state_dict().items() if not torch.equal(value, other[name])
    }
    return {name for name in names if not name.startswith("gate.")}


@pytest.mark.parametrize("carrier", ["heads", "last,stages=2", "lora,rank=2"])
def test_what_is_not_in_the_carrier_does_not_move(
    small: Any, original: ImageText, carrier: str
) -> None:
    """Not even the statistics of batch norms, and nothing decays."""
    done = run(small, original, FineTune(epochs=1, bn="train", weight_decay=0.5), carrier)
    moved = apart(original, done.model)
    assert moved >= HEADS
    if carrier == "heads":
        assert moved == HEADS
    if carrier.startswith("last"):
        stages = ("img_model.layer2.", "img_model.layer3.", "text_model.bert.pooler.")
        last = (*stages, "text_model.bert.encoder.layer.0.", *HEADS)
        assert all(name.startswith(last) for name in moved)
        assert any(name.startswith("img_model.layer2.") for name in moved)
        assert "img_model.layer3.0.bn1.running_mean" in moved
    if carrier.startswith("lora"):
        layers = adapted_layers(original, Carrier("lora"), but=moving(original, Carrier("heads")))
        assert moved == HEADS | {f"{layer}.weight" for layer in layers}
        assert "img_model.conv1" in layers
        assert "text_model.bert.encoder.layer.0.attention.self.query" in layers

    # What moved is said, and the model is like any other again
    facts = done.trace.facts
    assert facts["carrier"] == str(read_carrier(carrier))
    assert set(done.trace.changed) >= moved
    assert list(done.model.state_dict()) == list(original.state_dict())
    assert all(weight.requires_grad for weight in done.model.parameters())
    assert not done.model.execution.still
    weights = sum(original.state_dict()[name].numel() for name in HEADS)
    assert facts["weights that may move"] >= weights
    assert (facts["weights that may move"] == weights) == (carrier == "heads")


def test_the_carrier_full_is_no_carrier(small: Any, original: ImageText) -> None:
    full = run(small, original, FineTune(epochs=1), "full")
    unsaid = run(small, original, FineTune(epochs=1), "")
    assert parameter_digest(full.model) == parameter_digest(unsaid.model)
    assert "carrier" not in full.trace.facts
    assert full.adapters is None


def test_new_adapters_change_nothing_and_merged_ones_compute_the_same(
    small: Any, original: ImageText
) -> None:
    carried = carry(original, Carrier("lora", rank=3), seed=0)
    batch = small.prepared.records.batch(small.partition.retain[:6])
    with torch.no_grad():
        before, begun = original(batch).named(), carried(batch).named()
        for name, values in before.items():
            assert torch.equal(values, begun[name])

        # With a second factor that is not 0
        generator = torch.Generator().manual_seed(1)
        for name, value in carried.state_dict(keep_vars=True).items():
            if ".lora_B." in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        beside = carried(batch).named()
        weights = {name: value.clone() for name, value in original.state_dict().items()}
        product = _product(carried, "text_model.bert.pooler.dense")
        merge_adapters(carried)
        merged = carried(batch).named()

    for name, values in beside.items():
        assert torch.allclose(values, merged[name], atol=1e-5)
        assert not torch.allclose(values, before[name], atol=1e-3)

    # W + alpha / rank B A, by hand
    after = carried.get_submodule("text_model.bert.pooler.dense").weight
    assert torch.allclose(
        after, weights["text_model.bert.pooler.dense.weight"] + product, atol=1e-6
    )
    assert not adapters(carried)


def _product(model: nn.Module, layer: str) -> Tensor:
    pair = factors(model)
    first, second = (pair[f"{layer}.lora_{name}.default.weight"] for name in "AB")
    assert first.shape[0] == second.shape[1] == 3
    return 16.0 / 3 * second @ first


def test_the_seed_alone_decides_the_adapters(original: ImageText) -> None:
    one, again, other = (carry(original, Carrier("lora"), seed=seed) for seed in (1, 1, 2))
    assert parameter_digest(one) == parameter_digest(again) != parameter_digest(other)


def test_targets_are_names_or_their_ends(original: ImageText) -> None:
    whole = moving(original, Carrier("heads"))
    query = adapted_layers(original, Carrier("lora", targets=("query",)), but=whole)
    assert query == ("text_model.bert.encoder.layer.0.attention.self.query",)
    with pytest.raises(MethodError, match="Did you mean 'query'"):
        adapted_layers(original, Carrier("lora", targets=("querry",)), but=whole)

    # Part of a name is no end of it
    with pytest.raises(MethodError, match="no layer that can be adapted"):
        adapted_layers(original, Carrier("lora", targets=("uery",)), but=whole)


class Odd(nn.Module):
    """Layers that are not what they look like, beside one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.each = nn.Conv2d(8, 8, 3, groups=8)
        self.wide = nn.Conv2d(8, 8, 3, dilation=2)
        self.same = SameConv(8, 8, 3, stride=2)
        self.plain = nn.Linear(8, 8)
        self.out = nn.Linear(8, 3)


def test_layers_whose_weights_are_read_otherwise_get_no_adapter() -> None:
    from forgetmi import adapt

    net = adapt(
        Odd(),
        modalities=("image",),
        embeddings=lambda module, batch: {"image": module.plain(batch.image.mean((1, 2)))},
        heads={"image": "out"},
    )
    assert adapted_layers(net, Carrier("lora")) == ("module.same", "module.plain")
    assert moving(net, Carrier("heads")) == {"module.out.weight", "module.out.bias"}

    # Padding of its own kind is the adapter's, too
    carried = carry(net, Carrier("lora", rank=2), seed=0)
    layer = carried.module.same
    x = torch.rand(2, 8, 7, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.lora_B["default"].weight.fill_(0.3)
        beside = layer(x)
        merge_adapters(carried)
        merged = carried.module.same(x)
        assert torch.allclose(beside, merged, atol=1e-5)
        assert not torch.allclose(merged, net.module.same(x), atol=1e-3)

    net.module.same.requires_grad_(False)
    net.module.plain.requires_grad_(False)
    with pytest.raises(MethodError, match="nothing that adapters can be added to"):
        adapted_layers(net, Carrier("lora"))


def test_without_the_library_adapters_are_refused(
    original: ImageText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MethodError, match=r"pip install 'forgetmi\[lora\]'"):
        room.check_peft()
    assert room.adapters(original) == {}


def test_heads_alone_train_as_on_stored_embeddings(small: Any, original: ImageText) -> None:
    """With dropout in the towers, which a frozen tower does not draw."""
    model = copy.deepcopy(original)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    method = FineTune(epochs=2, bn="train", lr=1e-2, weight_decay=0.0, clip=0.0)
    done = run(small, model, method, "heads")

    # By hand: every embedding once, then two linear layers
    rows = small.partition.retain
    with torch.no_grad():
        stored_ = model.eval()(small.prepared.records.batch(rows)).embedding
    place = {int(row): number for number, row in enumerate(rows)}
    heads = {name: copy.deepcopy(head) for name, head in model.heads.items()}
    weights = [weight for head in heads.values() for weight in head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)
    from forgetmi.data.loaders import Loader

    loader = Loader(small.prepared.records, rows, batch_size=16, seed=5)
    for epoch in range(2):
        for batch in loader.epoch(epoch):
            own = [place[int(row)] for row in batch.row]
            out = model(batch)
            logits = {name: head(stored_[name][own]) for name, head in heads.items()}
            loss = base_loss(dataclasses.replace(out, logits=logits), batch, task=GRADES).total
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for name, head in heads.items():
        assert torch.allclose(head.weight, done.model.heads[name].weight, atol=1e-5)
        assert not torch.allclose(head.weight, model.heads[name].weight, atol=1e-3)


def test_a_training_of_the_heads_computes_the_towers_once(
    small: Any, original: ImageText, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    handle = original.img_model.conv1.register_forward_hook(lambda *_: runs.append(1))
    done = run(small, original, Retrain(), "heads")
    few = len(runs)
    monkeypatch.setattr("forgetmi.unlearning.context.training_prefixes", lambda *_: {})
    again = run(small, original, Retrain(), "heads")
    handle.remove()
    assert few < len(runs) - few
    for name, head in done.model.heads.items():
        assert torch.allclose(head.weight, again.model.heads[name].weight, atol=1e-5)


def test_new_heads_on_a_frozen_public_tower_are_a_whole_retraining(small: Any, public: Any) -> None:
    """Exact removal on heads: the tower saw nobody, and all that did is new."""
    prepared = public(4)
    model = build(prepared.spec, seed=3).eval()
    heads = run(small, model, Retrain(), "heads", prepared=prepared)
    full = run(small, model, Retrain(), "full", prepared=prepared)
    assert apart(heads.model, full.model) == set()
    assert heads.trace.facts["what did not move has seen no patient"]
    assert heads.trace.facts["the removal covers"] == "heads only; the towers saw no patient"
    assert within_carrier(Retrain.info, heads.trace.facts)[0].exact
    assert within_carrier(Retrain.info, full.trace.facts) == (Retrain.info, [])

    # The public weights are never replaced by random ones
    for name, value in prepared.spec.tower("image").pretrained().items():
        assert torch.equal(heads.model.state_dict()[f"towers.image.{name}"], value)

    # There embeddings do move: by the projections
    assert why_not(CalibratedConsensus(), model, Carrier("heads")) == ""
    assert moving(model, Carrier("heads")) == {
        *("projections.image.weight", "projections.image.bias"),
        *("classifiers.image.weight", "classifiers.image.bias"),
    }


def test_adapters_on_a_new_public_tower_are_an_exact_removal(small: Any, public: Any) -> None:
    prepared = public(0)
    model = build(prepared.spec, seed=3).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    done = run(small, model, Retrain(), "lora,rank=2", prepared=prepared)
    assert done.trace.facts["what did not move has seen no patient"]

    # All that differs from the public weights is of low rank, and nothing is the original's
    state = done.model.state_dict()
    for name, value in prepared.spec.tower("image").pretrained().items():
        difference = state[f"towers.image.{name}"] - value
        if difference.ndim == 2 and difference.any():
            assert torch.linalg.matrix_rank(difference.double(), atol=1e-6) <= 2
        elif difference.ndim == 1:
            assert not difference.any()

    # The adapters go back on a new model of the same public weights, not on the original
    assert done.adapters is not None
    assert why_not(ShrinkPerturb(), model, Carrier("lora")).startswith("it mixes")
    assert why_not(Undo(alpha=1.0), model, Carrier("lora")) == ""
    assert why_not(Undo(alpha=0.5), model, Carrier("lora")).startswith("it mixes")


def test_a_given_method_starts_afresh_in_the_carrier_alone(small: Any, original: ImageText) -> None:
    done = run(small, original, Undo(train_epochs=0), "last")
    fresh_in = moving(original, Carrier("last"))
    assert apart(original, done.model) <= fresh_in
    assert {name for name in HEADS if name.endswith("weight")} <= apart(original, done.model)
    info, sentences = within_carrier(Retrain.info, done.trace.facts)
    assert not info.exact
    assert "the text tower saw the patients" in sentences[0]
    mixed = run(small, original, ShrinkPerturb(keep=0.5, repair_epochs=0), "heads")
    assert apart(original, mixed.model) <= HEADS


@pytest.mark.parametrize(
    ("method", "carrier", "sentence"),
    [
        (ForgetMI(), "heads", "it moves embeddings, and the heads make none"),
        (CalibratedConsensus(), "heads", "it moves embeddings, and the heads make none"),
        (CFk(), "last", "it chooses itself which layers move"),
        (CHIP(), "lora", "it trains nothing: it changes the model's weights by a formula"),
        (NewtonHeads(), "last", "it moves the heads alone, by a formula"),
        (NewtonHeads(), "heads", ""),
        (Rewind(), "heads", "it goes back to stored weights of the whole model"),
        (SalUn(), "lora", "it chooses single weights of the model"),
        (SalUn(), "last", ""),
        (Retrain(), "lora", "a new image tower has random weights, which adapters cannot train"),
        (AFS(), "lora", "a new image tower has random weights"),
        (Undo(), "lora", "a new image tower has random weights"),
        (FineTune(), "lora", ""),
    ],
)
def test_what_does_not_go_together_is_refused_before_work_starts(
    small: Any,
    original: ImageText,
    method: Any,
    carrier: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert why_not(method, original, read_carrier(carrier)).startswith(sentence)
    if not sentence:
        assert why_not(method, original, read_carrier(carrier)) == ""
        return
    monkeypatch.setattr(type(small.prepared.records), "batch", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(MethodError, match=f"cannot work with the carrier {carrier}"):
        run(small, original, method, carrier)


def test_every_method_says_what_it_moves_in_known_words(original: ImageText) -> None:
    """A method of another package that says nothing is taken to train a copy; the check at the end catches others."""
    for name in methods.names():
        for kind in ("full", "heads", "last", "lora"):
            assert isinstance(why_not(methods.get(name)(), original, Carrier(kind)), str)


@dataclasses.dataclass(frozen=True)
class Strays:
    """Moves whatever it likes."""

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Strays",
        paper="a test",
        summary="Adds to a tower.",
        reads=frozenset({"retain"}),
        exact=False,
        cost="0",
        suits="nobody",
    )

    def apply(self, model: Any, loaders: Any, context: Any) -> Any:
        student = copy.deepcopy(model)
        with torch.no_grad():
            next(student.img_model.bn1.parameters()).add_(1.0)
        return student


@pytest.mark.parametrize("carrier", ["heads", "lora"])
def test_a_method_that_moves_more_is_caught(small: Any, original: ImageText, carrier: str) -> None:
    with pytest.raises(MethodError, match="Strays moved 1 tensors outside the carrier"):
        run(small, original, Strays(), carrier)


@dataclasses.dataclass(frozen=True)
class InPlace(Strays):
    """Moves a tower of the very model that it was given."""

    def apply(self, model: Any, loaders: Any, context: Any) -> Any:
        with torch.no_grad():
            next(model.img_model.bn1.parameters()).add_(1.0)
        return model


@pytest.mark.parametrize("carrier", ["full", "heads", "lora"])
def test_a_method_that_moves_what_it_was_given_is_caught(small: Any, carrier: str) -> None:
    """Compared with itself it would not have moved at all."""
    own = build(small.prepared.spec, seed=3).eval()
    with pytest.raises(MethodError, match="changed the model it was given"):
        run(small, own, InPlace(), carrier)


def test_kept_adapters_make_the_same_model_again(
    small: Any, original: ImageText, tmp_path: Path
) -> None:
    done = run(small, original, FineTune(epochs=1), "lora,rank=2")
    folder = tmp_path / "adapters"
    done.adapters.save(folder)
    done.adapters.save(folder)
    again = with_adapters(original, folder)
    batch = small.prepared.records.batch(small.partition.retain[:6])
    with torch.no_grad():
        one, two = done.model(batch).named(), again.eval()(batch).named()
    for name, values in one.items():
        assert torch.allclose(values, two[name], atol=1e-5)
    assert apart(original, build(small.prepared.spec, seed=3)) == set()

    # Of another model, damaged, or no adapters
    with pytest.raises(CheckpointError, match="made for another model"):
        with_adapters(build(small.prepared.spec, seed=4), folder)
    with pytest.raises(CheckpointError, match=r"adapters\.json"):
        with_adapters(original, tmp_path / "absent")
    facts = json.loads((folder / "adapters.json").read_text())
    for wrong in (
        *({"rank": 0}, {"rank": 3}, {"layers": ["img_model.fc1"]}, {"layers": 1}),
        *({"alpha": 1e300}, {"alpha": 15.0}, {"content": ""}),
    ):
        (folder / "adapters.json").write_text(json.dumps({**facts, **wrong}))
        with pytest.raises(CheckpointError):
            with_adapters(original, folder)
    (folder / "adapters.json").write_text(json.dumps(facts))
    factors = (folder / "adapters.safetensors").read_bytes()
    (folder / "adapters.safetensors").write_bytes(factors[:-1] + bytes([factors[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="damaged"):
        with_adapters(original, folder)
    (folder / "adapters.safetensors").write_bytes(factors)
    with_adapters(original, folder)
    (folder / "whole.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        with_adapters(original, folder)
    (folder / "letter.txt").write_text("keep me")
    with pytest.raises(CheckpointError, match="other files"):
        done.adapters.save(folder)


def test_a_training_by_a_carrier_leaves_towers_that_saw_nobody(small: Any) -> None:
    recipe = Recipe(epochs=1, carrier="heads")
    trained, _ = workflow.train(
        prepared=small.prepared, partition=small.partition, recipe=recipe, seed=3
    )
    new = build(small.prepared.spec, seed=3)
    assert apart(trained, new) == HEADS
    parts = untouched(trained, Carrier("heads"))
    assert parts == ("tower:text", "tower:image")
    assert coverage(trained, Carrier("heads"), untouched=parts).complete
    seen = coverage(trained, Carrier("heads"))
    assert not seen.complete
    assert seen.sentence == (
        "heads only; the image tower and the text tower saw the patients and stayed as they were"
    )

    # The method takes the carrier over from the recipe
    done = workflow.unlearn(
        prepared=small.prepared,
        partition=small.partition,
        model=trained,
        method=Retrain(),
        recipe=recipe,
        untouched=parts,
    )
    assert done.trace.facts["what did not move has seen no patient"]
    assert apart(done.model, trained) == HEADS


@pytest.mark.parametrize(
    ("method", "carrier"),
    [(FineTune(epochs=1), "heads"), (Retrain(), "lora,rank=2"), (Retrain(), "full")],
)
def test_public_weights_that_saw_the_patients_are_never_called_innocent(
    small: Any, public: Any, method: Any, carrier: str
) -> None:
    """A tower that no training moved, a new adapter and a new model all stand on what others trained into it."""
    seen, blank = public(0, "saw_patients=true"), public(0)
    trained_by = read_carrier("heads") if carrier == "heads" else Carrier()
    for prepared, complete in ((seen, False), (blank, True)):
        model = build(prepared.spec, seed=3).eval()
        parts = untouched(model, trained_by)
        assert ("tower:image" in parts) == (complete and carrier == "heads")
        done = run(small, model, method, carrier, prepared=prepared, untouched=parts)
        facts = done.trace.facts
        if complete and carrier == "full":
            assert "the removal covers" not in facts
            continue
        assert facts["what did not move has seen no patient"] == complete
        assert ("saw the patients" in facts["the removal covers"]) == (not complete)
        info, sentences = within_carrier(method.info, facts)
        assert info.exact == (method.info.exact and complete)
        assert sentences


def test_of_a_model_of_ones_own_nobody_says_what_its_towers_saw(small: Any) -> None:
    model = build(prepared_for("image only", small.prepared).spec, seed=0)
    assert untouched(model, Carrier("heads")) == ()


def test_trainings_that_a_carrier_does_not_suit(small: Any, original: ImageText) -> None:
    with pytest.raises(MethodError, match="an original cannot be trained by adapters alone"):
        check_training(FineTune(), original, Carrier("lora"))
    with pytest.raises(MethodError, match="it keeps a log of the training of the whole model"):
        check_training(Rewind(), original, Carrier("heads"))
    with pytest.raises(MethodError, match="an original cannot be trained by adapters alone"):
        workflow.train(
            prepared=small.prepared,
            partition=small.partition,
            recipe=Recipe(epochs=1, carrier="lora"),
        )
    check_training(FineTune(), original, Carrier("heads"))
    check_training(Rewind(), original, Carrier())


def test_a_foreign_model_is_carried_as_far_as_it_is_named(small: Any) -> None:
    prepared = prepared_for("image only", small.prepared)
    sizes = prepared.spec.sizes
    model = build(prepared.spec, seed=0).eval()
    assert last_stages(model, 1) == ("module.body",)
    done = run(small, model, FineTune(epochs=1), "lora,rank=2", prepared=prepared)
    moved = apart(model, done.model)
    assert moved == {
        *("module.stem.0.weight", "module.body.0.weight", "module.out.weight", "module.out.bias")
    }
    assert why_not(Retrain(), model, Carrier("lora")).startswith("nobody says")
    assert "saw the patients" in done.trace.facts["the removal covers"]

    # One that names neither heads nor stages
    assert why_not(FineTune(), ward(sizes), Carrier("heads")) == "the model names no head"
    assert "names no stages" in why_not(FineTune(), ward(sizes), Carrier("last"))
    assert isinstance(films(sizes), type(model))


def test_frozen_layers_rest_while_moving_ones_learn(original: ImageText) -> None:
    carried = carry(original, Carrier("last"), seed=0)
    learning(carried)
    assert not carried.img_model.bn1.training
    assert carried.img_model.layer3[0].bn1.training
    assert not carried.text_model.bert.encoder.training

    # Beside adapters dropout acts, but no statistics move, of whatever norm
    odd = nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.InstanceNorm2d(2))
    with_norms = copy.deepcopy(original)
    with_norms.text_model.odd = odd
    beside = carry(with_norms, Carrier("lora"), seed=0)
    learning(beside)
    assert not beside.text_model.odd[0].training
    assert beside.text_model.odd[1].training
    assert not beside.img_model.layer3[0].bn1.training
    assert beside.text_model.bert.encoder.training
