"""Signals against a plain pass over the samples one by one, and closed forms of what is derived from logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import (
    cross_entropy,
    heads_of,
    log_probabilities,
    margin,
    pair_cosine,
)
from forgetmi.model.collect import collect

LENGTHS = np.array([5, 40, 7, 33, 2, 39, 6, 21, 9, 30])


def cohort() -> Cohort:
    n = len(LENGTHS)
    names = np.array([f"digest{i}" for i in range(n)])
    blank = np.full(n, "")
    return Cohort(
        "toy",
        patient=names,
        study=names,
        image_id=names,
        group=names,
        image=blank,
        report=np.array(["x" * length for length in LENGTHS]),
        label=np.arange(n) % 3 - 1,
        split=blank,
        classes=("a", "b"),
        task="classes",
        subgroups={},
        show_images=False,
        digest="toy",
        key_id="k",
    )


class Source:
    """Batches whose pixels and tokens are the row number; counts the padding it had to add."""

    def __init__(self) -> None:
        self.padding = 0

    def batch(self, rows: np.ndarray) -> Batch:
        longest = LENGTHS[rows].max()
        self.padding += int((longest - LENGTHS[rows]).sum())
        row = torch.from_numpy(np.asarray(rows))
        mask = (torch.arange(int(longest))[None] < torch.from_numpy(LENGTHS[rows])[:, None]).long()
        return Batch.image_text(
            image=row.float()[:, None, None, None].expand(-1, 1, 2, 2),
            tokens=mask * (row[:, None] + 1),
            mask=mask,
            label=row % 3 - 1,
            study=row,
            row=row,
        )


class Net(nn.Module):
    """Two heads with dropout; text is the mean token."""

    def __init__(self, embeddings: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(3)
        self.embeddings = embeddings
        self.gradients: list[bool] = []

    def forward(self, batch: Batch) -> Outputs:
        self.gradients.append(torch.is_grad_enabled())
        image = self.norm(self.drop(self.layer(batch.image.mean((1, 2, 3))[:, None])))
        text: Tensor = (batch.tokens.sum(1) / batch.mask.sum(1))[:, None].expand(-1, 3)
        return Outputs.image_text(
            image, text, *((image, text, image + text) if self.embeddings else ())
        )


def test_rows_come_back_in_the_order_asked_for() -> None:
    model, rows = Net(), np.array([3, 9, 0, 4, 1, 7])
    found = collect(model, Source(), rows, cohort=cohort(), model_digest="m", batch_size=2)
    model.eval()
    single = np.stack(
        [model(Source().batch(np.array([row]))).image_logits[0].detach().numpy() for row in rows]
    )
    np.testing.assert_allclose(found.image_logits, single, atol=1e-6)
    np.testing.assert_array_equal(found.text_logits[:, 0], rows + 1)
    np.testing.assert_array_equal(found.row, rows)
    assert found.patient.tolist() == [f"digest{row}" for row in rows]
    np.testing.assert_array_equal(found.label, rows % 3 - 1)
    assert found.image_logits.dtype == np.float64
    assert found.joint_embedding is not None
    assert found.joint_embedding.dtype == np.float32
    assert (found.model, found.cohort) == ("m", "toy")


def test_batches_by_length_need_less_padding() -> None:
    sorted_source, plain = Source(), Source()
    rows = np.arange(10)
    collect(Net(), sorted_source, rows, cohort=cohort(), model_digest="m", batch_size=2)
    for at in range(0, 10, 2):
        plain.batch(rows[at : at + 2])
    assert sorted_source.padding < plain.padding / 3


def test_each_layer_gets_its_own_training_flag_back() -> None:
    model = Net()
    model.train()
    model.norm.eval()
    collect(model, Source(), np.arange(4), cohort=cohort(), model_digest="m")
    assert (model.training, model.drop.training, model.norm.training) == (True, True, False)
    assert model.gradients == [False]

    class Broken(Net):
        def forward(self, batch: Batch) -> Outputs:
            raise RuntimeError("out of memory")

    broken = Broken()
    with pytest.raises(RuntimeError, match="out of memory"):
        collect(broken, Source(), np.arange(4), cohort=cohort(), model_digest="m")
    assert broken.training


def test_plain_functions_and_missing_embeddings() -> None:
    done: list[int] = []
    net = Net(embeddings=False).eval()
    found = collect(
        lambda batch: net(batch),
        Source(),
        np.arange(5),
        cohort=cohort(),
        model_digest="m",
        batch_size=2,
        on_batch=done.append,
    )
    assert found.image_embedding is None
    assert done == [2, 4, 5]
    with pytest.raises(EvaluationError, match="no embeddings"):
        pair_cosine(found)


def test_rows_must_be_distinct_and_present() -> None:
    for rows in (np.array([1, 1]), np.array([], np.int64)):
        with pytest.raises(EvaluationError, match="distinct"):
            collect(Net(), Source(), rows, cohort=cohort(), model_digest="m")


def _signals(image: np.ndarray, text: np.ndarray, **more: np.ndarray) -> Signals:
    n = len(image)
    return Signals.image_text(
        "m",
        "c",
        np.arange(n),
        np.full(n, "p"),
        np.full(n, "s"),
        np.zeros(n, np.int64),
        image,
        text,
        **more,
    )


def test_losses_agree_with_scikit_learn_and_stay_exact_when_sure() -> None:
    rng = np.random.default_rng(0)
    image, text, label = (
        rng.normal(0, 3, (20, 4)),
        rng.normal(0, 3, (20, 4)),
        rng.integers(0, 4, 20),
    )
    found = _signals(image, text)
    both = (softmax(image, axis=1) + softmax(text, axis=1)) / 2
    for head, p in (
        ("image", softmax(image, axis=1)),
        ("text", softmax(text, axis=1)),
        ("both", both),
    ):
        log_p = log_probabilities(found, head)
        np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-12)
        losses = cross_entropy(log_p, label)
        np.testing.assert_allclose(losses, -np.log(p[np.arange(20), label]), rtol=1e-9)
        assert losses.mean() == pytest.approx(log_loss(label, p, labels=range(4)), rel=1e-9)
        true = p[np.arange(20), label]
        np.testing.assert_allclose(margin(log_p, label), np.log(true) - np.log1p(-true), rtol=1e-6)
    sure = log_probabilities(_signals(np.array([[50.0, 0.0]]), np.array([[50.0, 0.0]])), "image")
    assert cross_entropy(sure, np.array([0]))[0] == pytest.approx(np.exp(-50), rel=1e-12)
    assert margin(sure, np.array([1]))[0] == pytest.approx(-50)


def test_diverged_models_are_named() -> None:
    logits = np.array([[0.0, np.nan], [1.0, 2.0]])
    with pytest.raises(EvaluationError, match="text logits of 1 of 2 images are not finite"):
        log_probabilities(_signals(np.zeros((2, 2)), logits), "both")


def test_pair_cosine_closed_form() -> None:
    flat = np.zeros((2, 2))
    right = np.array([[1.0, 0.0], [3.0, 4.0]], np.float32)
    up = np.array([[0.0, 2.0], [6.0, 8.0]], np.float32)
    np.testing.assert_allclose(
        pair_cosine(_signals(flat, flat, image_embedding=right, text_embedding=up)),
        [0, 1],
        atol=1e-12,
    )
    with pytest.raises(EvaluationError, match="width"):
        pair_cosine(_signals(flat, flat, image_embedding=right, text_embedding=up[:, :1]))
    with pytest.raises(EvaluationError, match="zero or not finite"):
        pair_cosine(_signals(flat, flat, image_embedding=right * 0, text_embedding=up))


def test_all_heads_together_whatever_their_number() -> None:
    draw = np.random.default_rng(0)
    two = _signals(draw.normal(size=(5, 3)), draw.normal(size=(5, 3)))
    three = replace(two, logits={**two.logits, "table": draw.normal(size=(5, 3))})
    assert heads_of(three) == ("image", "text", "table", "all")
    mean = np.mean([softmax(logits, axis=1) for logits in three.logits.values()], axis=0)
    np.testing.assert_allclose(np.exp(log_probabilities(three, "all")), mean, rtol=1e-12)

    one = replace(two, logits={"table": two.image_logits})
    assert heads_of(one) == ("table",)
    with pytest.raises(EvaluationError, match="no image head"):
        log_probabilities(one, "image")
