from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.heads import added
from forgetmi.model.class_losses import cross_entropy
from forgetmi.model.losses import base_loss, base_loss_names, ranking_loss
from forgetmi.model.tasks.by_name import training_task
from forgetmi.model.tasks.classes import CLASSES, GRADES
from forgetmi.model.tasks.pairs import PAIRS

ORACLE = Path(__file__).parents[3] / "shared" / "data" / "oracles" / "ranking_loss.json"


def slow_similarity(a: list[float], b: list[float], kind: str) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    if kind == "dot":
        return dot
    if kind == "cosine":
        return dot / (math.hypot(*a) * math.hypot(*b))
    return -math.hypot(*(x - y for x, y in zip(a, b, strict=True)))


def slow_ranking_loss(image, text, label, study, kind, ordinal) -> float:
    n, total = len(label), 0.0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        if study[i] == study[j]:
            margin = 0.0
        elif not ordinal or label[i] == -1 or label[j] == -1:
            margin = 0.5
        else:
            margin = max(0.5, abs(label[i] - label[j]))
        own = slow_similarity(image[i], text[i], kind)
        total += max(0.0, slow_similarity(image[j], text[i], kind) - own + margin) / n
        total += max(0.0, slow_similarity(image[i], text[j], kind) - own + margin) / n
    return total


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 9),
    kind=st.sampled_from(["dot", "cosine", "l2"]),
    ordinal=st.booleans(),
)
def test_ranking_equals_the_slow_loop(seed, n, kind, ordinal):
    draw = torch.Generator().manual_seed(seed)
    image, text = (torch.randn(n, 6, generator=draw, dtype=torch.float64) for _ in range(2))
    label = torch.randint(-1, 4, (n,), generator=draw)
    study = torch.randint(0, 3, (n,), generator=draw)
    fast = ranking_loss(
        image,
        text,
        label,
        study,
        similarity=kind,
        task=training_task("grades" if ordinal else "classes"),
    )
    slow = slow_ranking_loss(
        image.tolist(), text.tolist(), label.tolist(), study.tolist(), kind, ordinal
    )
    assert float(fast) == pytest.approx(slow, rel=1e-9, abs=1e-9)


@pytest.mark.skipif(not ORACLE.exists(), reason="the release's oracle numbers are not here")
@pytest.mark.parametrize("kind", ["dot", "cosine", "l2"])
def test_ranking_equals_the_release(kind):
    cases = json.loads(ORACLE.read_text())["cases"]
    assert len(cases) == 9
    for case in cases:
        image, text = (
            torch.tensor(case[name], requires_grad=True) for name in ("z_image", "z_text")
        )
        loss = ranking_loss(
            image,
            text,
            torch.tensor(case["labels"]).long(),
            torch.tensor(case["report_id"]),
            similarity=kind,
            task=GRADES,
        )
        expected = case["expected"][kind]
        assert float(loss.detach()) == pytest.approx(expected["total"], rel=1e-5, abs=1e-6), case[
            "name"
        ]
        loss.backward()
        for name, tensor in (("grad_z_image", image), ("grad_z_text", text)):
            if name in expected:
                wanted = torch.tensor(expected[name])
                assert float((tensor.grad - wanted).norm()) <= 1e-5 * float(wanted.norm()) + 1e-7, (
                    case["name"]
                )


def test_nominal_margin_ignores_the_names():
    image, text, study = torch.zeros(3, 2), torch.zeros(3, 2), torch.arange(3)
    label = torch.tensor([0, 3, 1])
    assert float(ranking_loss(image, text, label, study, task=CLASSES)) == pytest.approx(1.0)
    assert float(ranking_loss(image, text, label, study, task=GRADES)) == pytest.approx(
        2 * (3 + 2 + 1) / 3
    )


def test_cross_entropy_is_the_mean_over_known_labels():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert float(cross_entropy(logits, torch.tensor([0, 0, -1]))) == pytest.approx(
        expected, rel=1e-6
    )


def test_cross_entropy_without_labels_is_zero_with_zero_gradient():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((3,), -1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_base_loss_adds_its_parts():
    torch.manual_seed(0)
    label, study = torch.tensor([0, 1, -1]), torch.arange(3)
    z_i, z_t, l_i, l_t = torch.randn(3, 5), torch.randn(3, 5), torch.randn(3, 4), torch.randn(3, 4)
    batch = Batch.image_text(torch.empty(3), torch.empty(3), torch.empty(3), label, study, study)
    loss = base_loss(
        Outputs.image_text(l_i, l_t, z_i, z_t), batch, ranking_weight=0.25, task=GRADES
    )
    assert float(loss.heads["image"]) == float(cross_entropy(l_i, label))
    assert float(loss.heads["text"]) == float(cross_entropy(l_t, label))
    assert float(loss.ranking) == float(ranking_loss(z_i, z_t, label, study, task=GRADES))
    assert float(loss.total) == pytest.approx(
        float(added(loss.heads) + 0.25 * loss.ranking), rel=1e-6
    )

    # Without embeddings, or with such as cannot be compared, nothing is ranked
    for embeddings in ((None, None), (z_i, None), (z_i, z_t[:, :2])):
        bare = base_loss(Outputs.image_text(l_i, l_t, *embeddings), batch, task=GRADES)
        assert float(bare.ranking) == 0
        assert float(bare.total) == float(added(loss.heads))


def test_base_loss_of_one_and_of_three_heads():
    torch.manual_seed(0)
    label, study = torch.tensor([0, 1, 2]), torch.arange(3)
    logits = {name: torch.randn(3, 4) for name in ("image", "text", "table")}
    embedding = {name: torch.randn(3, 5) for name in logits}
    batch = Batch({}, label, study, study)

    three = base_loss(Outputs(logits, embedding), batch, task=GRADES)
    pairs = [("image", "text"), ("image", "table"), ("text", "table")]
    rankings = [
        ranking_loss(embedding[a], embedding[b], label, study, task=GRADES) for a, b in pairs
    ]
    heads = [cross_entropy(logits[name], label) for name in logits]
    assert float(three.total) == pytest.approx(float(sum(heads) + sum(rankings)), rel=1e-6)
    assert base_loss_names(three.heads) == ("loss", "image", "text", "table", "ranking")
    assert len(three.stacked()) == 5

    # A single modality has nothing to be ranked against.
    one = base_loss(
        Outputs({"table": logits["table"]}, {"table": embedding["table"]}), batch, task=GRADES
    )
    assert float(one.total) == float(cross_entropy(logits["table"], label))
    assert float(one.ranking) == 0.0


@pytest.mark.parametrize("task", [GRADES, PAIRS], ids=lambda task: task.name)
def test_who_lacks_a_modality_takes_no_part_in_what_is_computed_from_it(task):
    """The loss is that of the samples that are there, and what a missing one would have had changes nothing."""
    torch.manual_seed(0)
    label, study = torch.tensor([0, 1, 2, 3, 1]), torch.arange(5)
    logits = {name: torch.randn(5, 4) for name in ("image", "text")} if task.headed else {}
    embedding = {name: torch.randn(5, 6) for name in ("image", "text")}
    image, text = torch.tensor([1, 1, 0, 1, 1]).bool(), torch.tensor([1, 0, 1, 1, 1]).bool()
    batch = Batch({}, label, study, study, {"image": image, "text": text})
    loss = base_loss(Outputs(logits, embedding), batch, task=task)

    both = image & text
    ranked = task.link(*(embedding[name][both] for name in embedding), label[both], study[both])
    assert float(loss.ranking) == pytest.approx(float(ranked))
    for name, there in (("image", image), ("text", text)) if task.headed else ():
        alone = cross_entropy(logits[name][there], label[there])
        assert float(loss.heads[name]) == pytest.approx(float(alone))

    for values in (logits, embedding):
        for name, there in (("image", image), ("text", text)):
            if name in values:
                values[name] = torch.where(there[:, None], values[name], 9.0)
    assert float(base_loss(Outputs(logits, embedding), batch, task=task).total) == float(loss.total)

    # Where everybody has everything, saying so changes no bit
    everybody = {name: torch.ones(5, dtype=torch.bool) for name in ("image", "text")}
    plain = base_loss(Outputs(logits, embedding), Batch({}, label, study, study), task=task)
    said = base_loss(
        Outputs(logits, embedding), Batch({}, label, study, study, everybody), task=task
    )
    assert float(plain.total) == float(said.total)


def test_nobody_has_both_modalities():
    label, study = torch.tensor([0, 1]), torch.arange(2)
    image = torch.tensor([True, False])
    embedding = {"image": torch.randn(2, 3, requires_grad=True), "text": torch.randn(2, 3)}
    logits = {name: torch.randn(2, 4) for name in embedding}
    batch = Batch({}, label, study, study, {"image": image, "text": ~image})
    loss = base_loss(Outputs(logits, embedding), batch, task=GRADES)
    assert float(loss.ranking.detach()) == 0
    loss.total.backward()
    assert embedding["image"].grad is not None
    assert not bool(embedding["image"].grad.any())
