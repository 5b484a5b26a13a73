"""A sample that lacks its film or its report: models say nothing of it there, and no loss counts it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals
from forgetmi.model.adapted import adapt
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.losses import base_loss
from forgetmi.model.spec import ModelSpec
from forgetmi.model.tasks.by_name import training_task
from forgetmi.unlearning.losses import classification, head_distillation

HAVE_FILM = torch.tensor([True, False, True, True, False, True])
HAVE_REPORT = torch.tensor([True, True, False, True, True, True])


@pytest.fixture
def batch(samples: Callable) -> Batch:
    whole = samples(6, batch_size=6).all
    return replace(whole, present={"image": HAVE_FILM, "text": HAVE_REPORT})


@pytest.fixture
def model(spec: ModelSpec) -> ImageText:
    built = build(spec, seed=0).eval()
    assert isinstance(built, ImageText)
    return built


def losses(outputs: Outputs, batch: Batch, task: str) -> tuple[float, float, float]:
    loss = base_loss(outputs, batch, task=training_task(task))
    return float(loss.heads["image"]), float(loss.heads["text"]), float(loss.ranking)


@torch.no_grad()
def test_outputs_are_0_where_a_modality_is_absent_and_as_before_elsewhere(
    model: ImageText, batch: Batch
) -> None:
    outputs, whole = model(batch), model(replace(batch, present={}))
    for name, there in batch.present.items():
        for values, before in (
            (outputs.logits[name], whole.logits[name]),
            (outputs.embedding[name], whole.embedding[name]),
        ):
            assert values[~there].eq(0).all()
            assert before[~there].ne(0).any()
            torch.testing.assert_close(values[there], before[there])

    # What is joined is what is there
    joined = model.gate(outputs.embedding["image"], outputs.embedding["text"])
    torch.testing.assert_close(outputs.embedding["joint"], joined)


@torch.no_grad()
def test_an_own_model_says_nothing_of_what_is_absent_either(batch: Batch) -> None:
    linear = torch.nn.Linear(12, 4)
    own = adapt(
        torch.nn.ModuleDict({"head": linear}),
        modalities=("text",),
        heads={"text": "head"},
        embeddings=lambda module, given: {"text": given.tokens.float() + 1},
    )
    outputs = own(batch)
    assert outputs.logits["text"][~HAVE_REPORT].eq(0).all()
    assert outputs.logits["text"][HAVE_REPORT].ne(0).all()


@pytest.mark.parametrize("task", ["grades", "classes"])
def test_losses_are_those_of_the_samples_that_have_it(
    model: ImageText, batch: Batch, task: str
) -> None:
    with torch.no_grad():
        image, text, ranking = losses(model(batch), batch, task)
        for there, head, of_all in ((HAVE_FILM, 0, image), (HAVE_REPORT, 1, text)):
            some = replace(batch, present={}).select(there)
            assert losses(model(some), some, task)[head] == pytest.approx(of_all, rel=1e-5)
        both = replace(batch, present={}).select(HAVE_FILM & HAVE_REPORT)
        assert losses(model(both), both, task)[2] == pytest.approx(ranking, rel=1e-5)


def test_a_batch_in_which_nobody_has_a_film_has_a_finite_loss(
    model: ImageText, batch: Batch
) -> None:
    nobody = replace(batch, present={"image": torch.zeros(6, dtype=torch.bool)})
    loss = base_loss(model(nobody), nobody, task=training_task("grades"))
    assert loss.heads["image"].item() == loss.ranking.item() == 0.0
    loss.total.backward()
    gradients = {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["img_model.fc1.weight"].eq(0).all()


def test_no_method_moves_a_head_by_samples_that_lack_it(model: ImageText, batch: Batch) -> None:
    one = replace(batch, present={"image": torch.zeros(6, dtype=torch.bool)})
    task, outputs = training_task("classes"), model(one)
    teacher = outputs.each(lambda values: values.detach() + 1)
    teacher = Outputs({**teacher.logits, "image": torch.zeros(6, 4)}, teacher.embedding)
    total = classification(outputs, one.label, task=task)
    (total + head_distillation(outputs, teacher, task=task)).backward()
    head = model.heads["image"]
    assert head.weight.grad is None or head.weight.grad.eq(0).all()
    assert head.bias.grad is None or head.bias.grad.eq(0).all()
    assert model.heads["text"].weight.grad.ne(0).any()


@pytest.mark.parametrize("there", [[0, 2, 3, 5], [4], []])
def test_batch_norms_learn_nothing_from_films_that_are_not_there(
    model: ImageText, batch: Batch, there: list[int]
) -> None:
    present = torch.zeros(6, dtype=torch.bool)
    present[there] = True
    films = {"image": present}
    noise = torch.rand(batch.image.shape, generator=torch.Generator().manual_seed(1))
    black = batch.image * present[:, None, None, None]
    found = []
    for other in (black, torch.where(present[:, None, None, None], batch.image, noise)):
        trained = copy.deepcopy(model).train()
        given = replace(batch.with_inputs(image=other), present=films)
        outputs = trained(given)
        found.append((outputs.image_embedding, outputs.image_logits, trained.img_model))

    # Whatever stands in for them
    (embedding, logits, own), (other_embedding, other_logits, another) = found
    assert torch.equal(embedding, other_embedding)
    assert torch.equal(logits, other_logits)
    assert logits[~present].eq(0).all()
    for name, value in own.state_dict().items():
        assert torch.equal(value, another.state_dict()[name])

    # As if the others were the batch
    alone = copy.deepcopy(model).train()
    if len(there) > 1:
        outputs = alone(replace(batch, present={}).select(present))
        torch.testing.assert_close(outputs.image_logits, logits[present])
    expected = alone.img_model if len(there) != 1 else own
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value)


def signals(**options: object) -> Signals:
    names = np.array(["a", "b", "c"], dtype=object)
    rows, logits = np.arange(3), np.ones((3, 2))
    made = Signals.image_text("m", "c", rows, names, names, rows % 2, logits, logits)
    return replace(made, **options)


def test_signals_keep_who_lacks_what(tmp_path: Path) -> None:
    lacking = signals(present={"image": np.array([True, False, True])})
    lacking.save(tmp_path / "lacking.npz")
    read = Signals.load(tmp_path / "lacking.npz")
    assert read.there("image").tolist() == [True, False, True]
    assert read.select(np.array([1, 2])).there("image").tolist() == [False, True]
    assert read.replaced(image_logits=np.zeros((3, 2))).there("image", "text").sum() == 2
    assert read.there("both").all()

    # Where nothing is missing the file says nothing of it
    signals().save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        assert not [name for name in file if "present" in name]


@pytest.mark.parametrize("there", [np.array([1, 0, 1]), np.array([True, False])])
def test_a_damaged_file_of_who_lacks_what_is_refused(tmp_path: Path, there: np.ndarray) -> None:
    signals().save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "damaged.npz", **arrays, image_present=there)
    with pytest.raises(EvaluationError):
        Signals.load(tmp_path / "damaged.npz")
