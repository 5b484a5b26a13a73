"""Samples that lack a modality: no loss, no stop rule and no fitted head counts them for its head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.heads import mean_of_heads_there
from forgetmi.core.inputs import Tokens
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.methods.clip_erase import pair_similarity
from forgetmi.methods.multi_delete import complete
from forgetmi.methods.newton_heads import NewtonHeads
from forgetmi.methods.scrub import Scrub
from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.unlearning.head_features import head_features
from forgetmi.unlearning.label_matched import per_sample
from forgetmi.unlearning.losses import head_distillation, reference_distillation
from forgetmi.unlearning.method import Method, Unlearned
from forgetmi.unlearning.method import unlearn as run_method

CLASSES = training_task("classes")
SIZE = 6
HAVE_FILM = torch.tensor([True, False, True, True, False, True])
NOBODY = torch.zeros(SIZE, dtype=torch.bool)


def made(seed: int, samples: int = SIZE) -> Outputs:
    draw = torch.Generator().manual_seed(seed)
    values = [torch.randn(samples, 3, generator=draw) for _ in range(4)]
    return Outputs.image_text(*values)


def of(outputs: Outputs, head: str, there: Tensor) -> Outputs:
    return Outputs({head: outputs.head(head)[there]})


def test_distillation_is_the_mean_over_the_samples_that_a_head_is_for() -> None:
    student, teacher = made(0), made(1)
    everyone = torch.ones_like(HAVE_FILM)
    found = head_distillation(student, teacher, task=CLASSES, present={"image": HAVE_FILM})
    slow = sum(
        head_distillation(of(student, head, there), of(teacher, head, there), task=CLASSES)
        for head, there in (("image", HAVE_FILM), ("text", everyone))
    )
    assert float(found) == pytest.approx(float(slow), rel=1e-6)
    assert float(found) != pytest.approx(
        float(head_distillation(student, teacher, task=CLASSES)), rel=1e-3
    )


def test_a_head_that_nobody_is_there_for_adds_nothing() -> None:
    student, teacher = made(0), made(1)
    text = head_distillation(
        Outputs({"text": student.head("text")}),
        Outputs({"text": teacher.head("text")}),
        task=CLASSES,
    )
    found = head_distillation(student, teacher, task=CLASSES, present={"image": NOBODY})
    assert float(found) == pytest.approx(float(text), rel=1e-6)
    nobody = teacher.of_those_there({"image": NOBODY})
    assert float(reference_distillation(student, nobody, task=CLASSES)) == pytest.approx(
        float(
            reference_distillation(Outputs({"text": student.head("text")}), teacher, task=CLASSES)
        )
    )


def test_pairs_are_those_that_have_both() -> None:
    out = made(2)
    pairs = Outputs({}, {name: out.embedding[name][HAVE_FILM] for name in ("image", "text")})
    found = pair_similarity(out, {"image": HAVE_FILM})
    assert float(found) == pytest.approx(float(pair_similarity(pairs)), rel=1e-6)
    assert float(pair_similarity(out, {"image": NOBODY})) == 0.0
    assert complete({}, {}) is None
    both = complete({"image": HAVE_FILM}, {"text": ~HAVE_FILM})
    assert both is not None
    assert not both.any()


def test_the_mean_over_heads_is_over_those_there() -> None:
    image, text = torch.arange(3.0), torch.full((3,), 5.0)
    there = [torch.tensor([True, False, False]), torch.tensor([True, True, False])]
    mean, any_head = mean_of_heads_there([image, text], there)
    assert mean.tolist()[:2] == [2.5, 5.0]
    assert any_head.tolist() == [True, True, False]


class OneSet:
    """A loader of one batch."""

    rows = np.arange(SIZE)

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def batches(self, rows: Any) -> list[Batch]:
        return [self.batch]


@pytest.fixture
def batch() -> Batch:
    ones = torch.ones(SIZE, 2, dtype=torch.long)
    films = torch.rand(SIZE, 1, 4, 4)
    rows = torch.arange(SIZE)
    inputs = {"image": films, "text": Tokens(ones, ones)}
    return Batch(inputs, rows % 3, rows, rows, {"image": HAVE_FILM})


def test_stop_rules_measure_a_head_on_the_samples_that_it_is_for(batch: Batch) -> None:
    given = made(3)

    class Net(torch.nn.Module):
        def forward(self, batch: Batch) -> Outputs:
            return given

    net: Any = Net()
    group, loss = per_sample(net, OneSet(batch), "cross_entropy", task=CLASSES)  # type: ignore[arg-type]
    slow = CLASSES.loss(given.head("image"), batch.label)[HAVE_FILM]
    assert torch.allclose(loss, slow)
    assert group.tolist() == batch.label[HAVE_FILM].tolist()

    # Of all heads, the one that is there speaks alone
    _, loss = per_sample(net, OneSet(batch), "cross_entropy", task=CLASSES, heads="all")  # type: ignore[arg-type]
    text = CLASSES.loss(given.head("text"), batch.label)
    assert torch.allclose(loss[~HAVE_FILM], text[~HAVE_FILM])
    assert not torch.allclose(loss[HAVE_FILM], text[HAVE_FILM])

    features = head_features(lambda _: given, [batch], ("image", "text"))
    assert len(features["image"].label) == int(HAVE_FILM.sum())
    assert len(features["text"].label) == SIZE


# Runs of methods on a cohort in which a third of the films are missing


@pytest.fixture(scope="module")
def lacking(small: Any) -> np.ndarray:
    return np.arange(len(small.prepared.records)) % 3 > 0


def run(method: Method, model: ImageText, small: Any, there: np.ndarray, label: Any) -> Unlearned:
    records = replace(small.prepared.records, present={"image": there}, label=label)
    return run_method(
        method,
        model,
        records=records,
        partition=small.partition,
        seed=5,
        fresh_model=lambda _: model,
        recipe=Recipe(epochs=1),
    )


def test_newton_fits_a_head_to_the_samples_that_it_reads(
    small: Any, memorised: ImageText, lacking: np.ndarray
) -> None:
    label, everyone = small.prepared.records.label, np.ones_like(lacking)
    found = run(NewtonHeads(), memorised, small, lacking, label).model.state_dict()

    # What is absent counts no more than what is unlabelled
    unknown = np.where(lacking, label, -1)
    expected = run(NewtonHeads(), memorised, small, everyone, unknown).model.state_dict()
    for part in ("weight", "bias"):
        name = f"img_model.fc1.{part}"
        assert torch.allclose(found[name], expected[name], atol=1e-6)
    whole = run(NewtonHeads(), memorised, small, everyone, label).model.state_dict()
    assert torch.equal(found["text_model.classifier.weight"], whole["text_model.classifier.weight"])


def test_the_stop_rule_of_scrub_and_our_transport_run_where_films_are_missing(
    small: Any, memorised: ImageText, lacking: np.ndarray
) -> None:
    label = small.prepared.records.label
    scrub = run(Scrub(rewind="error", epochs=1), memorised, small, lacking, label)
    assert all(torch.isfinite(value).all() for value in scrub.model.parameters())

    ours = run(CalibratedConsensus(epochs=1, draws=2), memorised, small, lacking, label)
    facts = ours.trace.facts
    counted = np.sum(facts["image transport"]["validation images by class"])
    validation = small.partition.validation
    assert counted == (lacking & (label >= 0))[validation].sum()
    assert (
        np.sum(facts["text transport"]["validation images by class"])
        == (label >= 0)[validation].sum()
    )
