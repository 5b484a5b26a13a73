"""A user's own model: what it promises is tried on made-up samples, and each broken promise is one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import CheckpointError, SpecError
from forgetmi.model import factory as factories
from forgetmi.model.adapted import Adapted, adapt
from forgetmi.model.check_net import check_net
from forgetmi.model.factory import build_own, own_spec
from forgetmi.model.own_spec import OwnSpec, Sizes, missing_notices

SIZES = Sizes(classes=3, image=16, vocabulary=40, longest=20)


class Plain(nn.Module):
    """Films and reports by their means, which is enough to be well behaved."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.pixels = nn.Linear(sizes.image**2, 4)
        self.act = nn.Tanh()
        self.words = nn.Embedding(sizes.vocabulary, 4)
        self.image_head = nn.Linear(4, sizes.classes)
        self.text_head = nn.Linear(4, sizes.classes)
        self.norm = nn.BatchNorm1d(4)


def image_of(model: Plain, batch: Batch) -> Tensor:
    return model.act(model.pixels(batch.image.flatten(1)))


def text_of(model: Plain, batch: Batch) -> Tensor:
    weight = batch.mask[:, :, None].float()
    return (model.words(batch.tokens) * weight).sum(1) / weight.sum(1)


def both(model: Plain, batch: Batch) -> dict[str, Tensor]:
    return {"image": image_of(model, batch), "text": text_of(model, batch)}


HEADS = {"image": "image_head", "text": "text_head"}
GOOD: dict[str, Any] = {
    "embeddings": both,
    "heads": HEADS,
    "stages": {"image": ("pixels", "act"), "text": ("words",)},
    "words": "words",
}


def padded(model: Plain, batch: Batch) -> dict[str, Tensor]:
    return {"image": image_of(model, batch), "text": model.words(batch.tokens).mean(1)}


def centred(model: Plain, batch: Batch) -> dict[str, Tensor]:
    image = image_of(model, batch)
    return {"image": image - image.mean(0), "text": text_of(model, batch)}


def noisy(model: Plain, batch: Batch) -> dict[str, Tensor]:
    image = image_of(model, batch)
    return {"image": image + torch.rand_like(image), "text": text_of(model, batch)}


def alone_refused(model: Plain, batch: Batch) -> dict[str, Tensor]:
    if len(batch) == 1:
        raise ValueError("two samples at least")
    return both(model, batch)


def with_logits(change: Callable[[Tensor], Any]) -> Callable[[Any, Any], Outputs]:
    """A forward whose image logits are changed."""

    def forward(model: Plain, batch: Batch) -> Outputs:
        embedding = both(model, batch)
        image = change(model.image_head(embedding["image"]))
        return Outputs({"image": image, "text": model.text_head(embedding["text"])}, embedding)

    return forward


def unwilling(model: Plain, folder: Path) -> None:
    torch.save({}, folder / "x.pt")


def made(**how: Any) -> Callable[[Sizes], Any]:
    """A factory of plain models, adapted in some way."""
    return lambda sizes: adapt(Plain(sizes), **how)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Sizes], Any]], Adapted]:
    """Make a model by a factory of the test, and check it."""

    def checked(factory: Callable[[Sizes], Any]) -> Adapted:
        monkeypatch.setattr(factories, "_factory", lambda name: factory)
        spec = OwnSpec("tests:factory", "", SIZES)
        model = build_own(spec, seed=0)
        check_net(model, lambda: build_own(spec, seed=0))
        return model

    return checked


def test_a_sound_model_is_taken_as_it_is(check: Any) -> None:
    model = check(made(**GOOD))
    assert model.logit_names == ("image", "text")
    assert model.embedding_widths == {"image": 4, "text": 4}
    assert model.stages("image") == ("module.pixels", "module.act", "module.image_head")
    assert set(model.parts()) == {"tower:image", "tower:text", "head:image", "head:text", "rest"}


def test_other_word_embeddings_take_the_place_of_the_tokens_own(check: Any) -> None:
    model = check(made(**GOOD))
    ids, mask = torch.tensor([[3, 4, 0]]), torch.tensor([[1, 1, 0]])
    label = torch.zeros(1, dtype=torch.long)
    batch = Batch.image_text(torch.zeros(1, 1, 16, 16), ids, mask, label, label, label)
    words = model.embed(batch, "text")
    given = words.detach().clone().requires_grad_()
    model(batch, text_inputs=given).text_logits.sum().backward()
    assert torch.equal(given.grad[0, 0], given.grad[0, 1])
    assert not given.grad[0, 2].any()
    torch.testing.assert_close(
        model(batch, text_inputs=words).text_logits, model(batch).text_logits, rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"embeddings": padded}, "text_logits of a sample depends on the other samples"),
        ({"embeddings": centred}, "image_logits of a sample depends on the other samples"),
        ({"embeddings": noisy}, "image_logits differs from run to run"),
        ({"logits": lambda model, e: {"image": e["image"]}}, r"must be of shape \(3, 3\)"),
        ({"logits": lambda model, e: {}}, "the model gives no predictions"),
        (
            {"embeddings": alone_refused},
            "the model cannot be run .ValueError: two samples at least",
        ),
        ({"stages": {"image": ("act", "pixels")}}, "run in another order"),
        ({"stages": {"image": ("pixels", "norm")}}, "does not run: norm"),
        ({"save": unwilling, "load": lambda *_: None}, "weights cannot be stored"),
        ({"embeddings": lambda model, batch: {"image": batch.table}}, "the model cannot be run"),
    ],
)
def test_each_broken_promise_is_one_clear_error(how: dict[str, Any], said: str, check: Any) -> None:
    with pytest.raises((SpecError, CheckpointError), match=said):
        check(made(**{**GOOD, **how}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[:, :2], r"the logits of head 'image' must be of shape \(3, 3\).*\(3, 2\)"),
        (lambda x: x[:2], r"it is \(2, 3\)"),
        (lambda x: x * float("nan"), "image_logits is not finite"),
        (lambda x: x * 2, "head 'image' does not make its predictions"),
        (lambda x: x.detach(), None),
    ],
)
def test_predictions_that_are_not_what_was_promised(change: Any, said: Any, check: Any) -> None:
    factory = made(forward=with_logits(change), heads=HEADS)
    if said is None:  # the other head still learns
        assert check(factory)
        return
    with pytest.raises(SpecError, match=said):
        check(factory)


def test_a_head_that_is_missing_in_the_outputs(check: Any) -> None:
    def text_alone(model: Plain, batch: Batch) -> Outputs:
        embedding = {"text": text_of(model, batch)}
        return Outputs({"text": model.text_head(embedding["text"])}, embedding)

    with pytest.raises(SpecError, match="head 'image' is named, but missing") as error:
        check(made(forward=text_alone, heads=HEADS))
    assert len(error.value.faults) == 2  # its embedding is missing, too


def test_a_forward_that_returns_something_else_or_learns_nothing(check: Any) -> None:
    with pytest.raises(SpecError, match=r"forward must return forgetmi.Outputs.*tuple"):
        check(made(forward=lambda model, batch: (1, 2)))

    @torch.no_grad()
    def frozen(model: Plain, batch: Batch) -> Outputs:
        return with_logits(lambda x: x)(model, batch)

    with pytest.raises(SpecError, match="nothing can be learned"):
        check(made(forward=frozen))


def test_functions_that_hold_on_to_one_module(check: Any) -> None:
    def factory(sizes: Sizes) -> Any:
        module = Plain(sizes)
        return adapt(module, forward=lambda _, batch: with_logits(lambda x: x)(module, batch))

    with pytest.raises(SpecError, match="the model's functions run another module"):
        check(factory)


def test_a_factory_that_draws_from_elsewhere(check: Any) -> None:
    generator = torch.Generator().manual_seed(0)

    def factory(sizes: Sizes) -> Any:
        module = Plain(sizes)
        nn.init.normal_(module.pixels.weight, generator=generator)
        return adapt(module, **GOOD)

    with pytest.raises(SpecError, match="the factory makes other weights each time"):
        check(factory)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "either forward or embeddings must be given"),
        ({"embeddings": both, "forward": both}, "either forward or embeddings"),
        ({"embeddings": both}, "nothing makes predictions"),
        ({**GOOD, "save": unwilling}, "save and load must be given together"),
        ({**GOOD, "heads": {"image": "image_haed"}}, "no 'image_haed'.*image_head"),
        ({**GOOD, "heads": {"image": "act"}}, "'act' must be Linear"),
        ({**GOOD, "modalities": ("image", "text", "genome")}, "cannot read 'genome'"),
        ({**GOOD, "words": "pixels"}, "'pixels' must be Embedding"),
        ({**GOOD, "stages": {"table": ("act",)}}, "'table' is no modality"),
    ],
)
def test_what_adapt_refuses(how: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        adapt(Plain(SIZES), **how)


def frozen(sizes: Sizes) -> Plain:
    module = Plain(sizes)
    module.pixels.requires_grad_(False)
    module.norm.requires_grad_(False)
    return module


def test_public_modules_have_seen_no_patients_and_stay_as_they_are(check: Any) -> None:
    model = check(lambda sizes: adapt(frozen(sizes), **GOOD, public=("pixels", "norm")))
    seen = {name: part.saw_patients for name, part in model.parts().items()}
    assert seen == {
        "tower:image": False,
        "tower:text": True,
        "head:image": True,
        "head:text": True,
        "public": False,
    }

    # No method is told to move them, and no statistics of theirs are learned
    assert model.stages("image") == ("module.act", "module.image_head")
    model.train()
    assert model.module.image_head.training
    assert not model.module.norm.training

    # Without the word of their owner all have seen patients
    assert all(part.saw_patients for part in check(made(**GOOD)).parts().values())


def test_a_part_that_is_partly_public_has_seen_patients(check: Any) -> None:
    stages = {"image": ("pixels", "act"), "text": ("words",)}
    how = {**GOOD, "stages": {**stages, "image": ("pixels", "norm")}}
    model = adapt(frozen(SIZES), **how, public=("pixels",))
    assert model.parts()["tower:image"].saw_patients
    assert (
        not adapt(frozen(SIZES), **how, public=("pixels", "norm"))
        .parts()["tower:image"]
        .saw_patients
    )


@pytest.mark.parametrize(
    ("public", "said"),
    [(("pixels",), "'pixels' is not frozen.*may be trained"), (("pixel",), "no 'pixel'.*pixels")],
)
def test_public_modules_are_there_and_frozen(public: tuple[str, ...], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        adapt(Plain(SIZES), **GOOD, public=public)


def test_the_source_of_a_factory_is_part_of_its_specification() -> None:
    spec = own_spec("examples.own_model:factory", SIZES)
    assert OwnSpec.from_plain(spec.to_plain(), where="model.json") == spec
    assert len(spec.source) == 64


def test_what_lacks_a_modality_is_said_of_a_model_of_ones_own() -> None:
    assert missing_notices({}) == ()
    (said,) = missing_notices({"text": 0, "image": 0})
    assert "without image or text" in said
    assert "batch norm" in said
