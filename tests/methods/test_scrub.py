"""SCRUB: its divergence, its order of passes, its cold start, and what rewinding returns."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parameters_to_vector

from forgetmi.data.loaders import Loader
from forgetmi.methods import scrub
from forgetmi.methods.scrub import Scrub
from forgetmi.model.class_losses import distillation
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.losses import base_loss
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.label_matched import matched_mean, per_sample


def test_distillation_by_hand() -> None:
    teacher, student = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(distillation(student, teacher)) == pytest.approx(expected)
    assert float(distillation(2 * student, 2 * teacher, temperature=2.0)) == pytest.approx(
        4 * expected
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 5.0))
def test_distillation_against_a_loop(seed: int, temperature: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (
        3 * torch.randn(4, 3, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    total = 0.0
    for z_u, z_o in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = (
            [math.exp(z / temperature) / sum(math.exp(w / temperature) for w in row) for z in row]
            for row in (z_u, z_o)
        )
        total += temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert float(distillation(student, teacher, temperature=temperature)) == pytest.approx(
        total / 4, rel=1e-9
    )
    assert float(distillation(teacher, teacher, temperature=temperature)) == pytest.approx(
        0.0, abs=1e-12
    )


@pytest.fixture
def plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradient steps, because AdamW enlarges what is left of a gradient of 0, and mixes those of both passes."""
    monkeypatch.setattr(
        scrub,
        "adamw",
        lambda model, lr, weight_decay: torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=lr
        ),
    )


def test_without_max_passes_it_is_distillation_and_training_on_the_retained(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
    plain_steps: None,
) -> None:
    done = unlearn(
        Scrub(
            max_epochs=0, decay_epochs=(), epochs=2, alpha=0.3, gamma=0.8, temperature=3.0, lr=1e-3
        )
    )
    student, teacher = copy.deepcopy(memorised).eval(), copy.deepcopy(memorised).eval()
    student.gate.requires_grad_(False)
    optimiser = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=1e-3)
    loader = Loader(small.prepared.records, small.partition.retain, batch_size=16, seed=5)
    for epoch in range(2):
        for batch in loader.epoch(epoch):
            out = student(batch)
            with torch.no_grad():
                told = teacher(batch)
            loss = 0.8 * base_loss(out, batch, task=GRADES).total
            for own, other in (
                (out.image_logits, told.image_logits),
                (out.text_logits, told.text_logits),
            ):
                p, q = (other / 3).softmax(dim=1), (own / 3).softmax(dim=1)
                loss = loss + 0.3 * 9 * (p * (p.log() - q.log())).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for p in student.parameters() if p.requires_grad], 5.0
            )
            optimiser.step()
    old, one, other = (
        parameters_to_vector(model.parameters()).detach()
        for model in (memorised, done.model, student)
    )
    assert float((one - other).norm()) < 0.01 * float((one - old).norm())


def test_max_passes_come_in_the_first_epochs_alone(small: Any, unlearn: Any) -> None:
    trace = unlearn(Scrub(max_epochs=2, epochs=3)).trace
    assert ["max" in epoch for epoch in trace.epochs] == [True, True, False]
    assert all({"retain", "min"} <= set(epoch) for epoch in trace.epochs)
    assert trace.samples["forget"] == 3 * len(
        small.partition.forget
    )  # the teacher once, two max passes


def test_a_max_pass_first_starts_cold(unlearn: Any) -> None:
    cold, warm = (
        unlearn(Scrub(epochs=1, first=first)).trace.epochs[0]["max gradient"]
        for first in ("max", "min")
    )
    assert cold < 1e-3 * warm


def test_a_max_pass_adds_the_gradient_of_the_divergence_on_the_forgotten_which_grows(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
    plain_steps: None,
) -> None:
    """One step, after a min pass: at the original there is no gradient."""
    options: dict[str, Any] = {"epochs": 1, "lr": 1e-4, "clip": 0.0, "decay_epochs": ()}
    before, after = (
        unlearn(Scrub(max_epochs=count, **options), batch_size=1000) for count in (0, 1)
    )
    forgotten = small.prepared.records.batch(small.partition.forget)
    told = memorised(forgotten)

    def divergence(model: ImageText) -> torch.Tensor:
        out = model(forgotten)
        return sum(
            (
                4
                * torch.nn.functional.kl_div(
                    (own / 2).log_softmax(1),
                    (other.detach() / 2).log_softmax(1),
                    reduction="batchmean",
                    log_target=True,
                )
                for own, other in (
                    (out.image_logits, told.image_logits),
                    (out.text_logits, told.text_logits),
                )
            ),
            torch.zeros(()),
        )

    old, new = ([p for p in done.model.parameters() if p.requires_grad] for done in (before, after))
    low = divergence(before.model)
    assert after.trace.epochs[0]["max"] == pytest.approx(-float(low.detach()), rel=1e-3)
    wanted = 1e-4 * parameters_to_vector(torch.autograd.grad(low, old))
    step = (parameters_to_vector(new) - parameters_to_vector(old)).detach()
    assert float((step - wanted).norm()) < 0.05 * float(
        wanted.norm()
    )  # the weights keep 7 digits, the step fewer
    with torch.no_grad():
        assert low < divergence(after.model)


def test_the_learning_rate_falls_after_each_decay_epoch() -> None:
    method = Scrub(lr=1.0, decay_rate=0.1, decay_epochs=(2, 4), epochs=5)
    assert [method.rate(epoch) for epoch in range(5)] == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("measure", ["error", "cross_entropy"])
def test_rewinding_returns_the_state_closest_to_the_reference(unlearn: Any, measure: Any) -> None:
    options: dict[str, Any] = {"max_epochs": 3, "lr": 2e-3, "decay_epochs": ()}
    done = unlearn(Scrub(epochs=3, rewind=measure, **options))
    facts = done.trace.facts
    means, at = facts["forget set after each epoch"], facts["rewound to epoch"]
    gaps = [abs(mean - facts["reference"]) for mean in means]
    assert len(means) == 4
    assert gaps[at] == min(gaps)
    assert parameter_digest(done.model) == parameter_digest(
        unlearn(Scrub(epochs=at, **options)).model
    )


def test_the_rewind_looks_at_all_heads(unlearn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def watched(*given: Any, **more: Any) -> Any:
        seen.add(more["heads"])
        return per_sample(*given, **more)

    monkeypatch.setattr("forgetmi.unlearning.rewind.per_sample", watched)
    unlearn(Scrub(epochs=1, rewind="error"))
    assert seen == {"all"}


def test_an_interrupted_rewinding_run_resumes_to_the_same_state(
    unlearn: Any, tmp_path: Any
) -> None:
    method = Scrub(epochs=3, lr=2e-3, rewind="cross_entropy")
    whole = unlearn(method)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(method, state=tmp_path / "state.pt", progress=stop)
    resumed = unlearn(method, state=tmp_path / "state.pt")
    assert parameter_digest(resumed.model) == parameter_digest(whole.model)
    assert resumed.trace.facts == whole.trace.facts


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(-10, 10)), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
)
def test_matched_mean_against_a_loop(pairs: list[tuple[int, float]], like: list[int]) -> None:
    """Each of the other labels asks for the mean of its class, if there is one."""
    matching = [[value for label, value in pairs if label == wanted] for wanted in like]
    means = [sum(values) / len(values) for values in matching if values] or [
        sum(v for _, v in pairs) / len(pairs)
    ]
    label, value = (
        torch.tensor([a for a, _ in pairs]),
        torch.tensor([b for _, b in pairs], dtype=torch.float64),
    )
    assert matched_mean(label, value, torch.tensor(like)) == pytest.approx(
        sum(means) / len(means), rel=1e-9, abs=1e-9
    )


def test_matched_mean_by_hand() -> None:
    label, value = torch.tensor([0, 0, 1, 2]), torch.tensor([1.0, 3.0, 10.0, 99.0])
    assert matched_mean(label, value, torch.tensor([0, 0, 0, 1])) == pytest.approx(
        0.75 * 2 + 0.25 * 10
    )
    assert matched_mean(label, value, torch.tensor([0, 3, 3])) == pytest.approx(
        2.0
    )  # class 3 is not among them
    assert matched_mean(label, value, torch.tensor([3])) == pytest.approx(113 / 4)
