"""MultiDelete: its three losses, who lends a report to whom, and what the retention terms hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import MethodError
from forgetmi.data.loaders import Loader
from forgetmi.methods import multi_delete
from forgetmi.methods.multi_delete import MultiDelete, decoupled, losses
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.derangement import derangement
from forgetmi.unlearning.teacher import frozen, tabulate

NONE = torch.zeros(2, 2)


def outputs(image: list[list[float]], text: list[list[float]], joint: list[list[float]]) -> Outputs:
    return Outputs.image_text(
        NONE, NONE, *(torch.tensor(values).float() for values in (image, text, joint))
    )


def test_losses_by_hand() -> None:
    zero = outputs([[0, 0]], [[0, 0]], [[0, 0]])
    forgotten = outputs([[2, 0]], [[0, 4]], [[1, 3]])
    retained = outputs([[9, 9]], [[9, 9]], [[2, 2]])
    assert losses(forgotten, zero, retained, zero).tolist() == pytest.approx(
        [(1 + 9) / 2, (4 + 4) / 2, (4 + 16) / 4]
    )
    assert losses(forgotten, forgotten, retained, retained).tolist() == [0, 0, 0]


def drawn(draw: torch.Generator, count: int, widths: tuple[int, int, int]) -> Outputs:
    return Outputs.image_text(
        NONE,
        NONE,
        *(torch.randn(count, width, generator=draw, dtype=torch.float64) for width in widths),
    )


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4), st.tuples(*[st.integers(1, 4)] * 3)
)
def test_losses_against_a_loop(
    seed: int, forgotten: int, retained: int, widths: tuple[int, int, int]
) -> None:
    draw = torch.Generator().manual_seed(seed)
    lost, goal, kept, held = (
        drawn(draw, count, widths) for count in (forgotten, forgotten, retained, retained)
    )

    def mean_square(*pairs: Any) -> float:
        squares = [
            (x - y) ** 2
            for a, b in pairs
            for one, other in zip(a.tolist(), b.tolist(), strict=True)
            for x, y in zip(one, other, strict=True)
        ]
        return sum(squares) / len(squares)

    assert losses(lost, goal, kept, held).tolist() == pytest.approx(
        [
            mean_square((lost.joint_embedding, goal.joint_embedding)),
            mean_square((kept.joint_embedding, held.joint_embedding)),
            mean_square(
                (lost.image_embedding, goal.image_embedding),
                (lost.text_embedding, goal.text_embedding),
            ),
        ],
        rel=1e-9,
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 2**31))
def test_no_report_stays_with_its_patient(patients: list[int], seed: int) -> None:
    codes = np.array(patients, np.int64)
    if 2 * max(np.bincount(codes)) > len(codes):
        with pytest.raises(MethodError, match="cannot be exchanged"):
            derangement(codes, np.random.default_rng(seed))
        return
    partner = derangement(codes, np.random.default_rng(seed))
    assert sorted(partner) == list(range(len(codes)))
    assert not np.any(codes[partner] == codes)


def test_permutations_differ_from_epoch_to_epoch() -> None:
    codes = np.repeat(np.arange(4), 3)
    draws = {tuple(derangement(codes, np.random.default_rng(seed)).tolist()) for seed in range(20)}
    assert len(draws) > 15


@pytest.fixture
def forgotten(small: Any) -> Batch:
    return small.prepared.records.batch(small.partition.forget)


def test_all_losses_are_zero_at_the_original_with_its_own_reports(
    memorised: ImageText, forgotten: Batch
) -> None:
    teacher = frozen(memorised)
    own = tabulate(teacher, [forgotten])
    goal = decoupled(teacher, own, own.of(forgotten.row))
    out = memorised(forgotten)
    assert torch.allclose(
        losses(out, goal.of(forgotten.row), out, own.of(forgotten.row)), torch.zeros(3), atol=1e-10
    )


def test_decoupling_takes_the_own_image_and_the_foreign_report(
    memorised: ImageText, forgotten: Batch
) -> None:
    teacher = frozen(memorised)
    own = tabulate(teacher, [forgotten])
    foreign = forgotten.row.flip(0)
    goal = decoupled(teacher, own, own.of(foreign))
    mixed = Batch.image_text(
        image=forgotten.image,
        tokens=forgotten.tokens.flip(0),
        mask=forgotten.mask.flip(0),
        label=forgotten.label,
        study=forgotten.study,
        row=forgotten.row,
    )
    with torch.no_grad():
        expected = memorised(mixed)
    assert expected.joint_embedding is not None
    assert torch.allclose(
        goal.of(forgotten.row).joint_embedding, expected.joint_embedding, atol=1e-5
    )  # type: ignore[arg-type]
    assert torch.equal(goal.image, own.image)


@pytest.mark.parametrize("partners", ["retain", "forget"])
def test_a_step_comes_closer_to_its_goal_and_the_student_trains_its_own_gate(
    unlearn: Any,
    memorised: ImageText,
    forgotten: Batch,
    partners: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One step, because the partners, and with them the goals, are others in the next epoch."""
    goals: list[Any] = []

    def kept(*given: Any) -> Any:
        goals.append(decoupled(*given))
        return goals[-1]

    monkeypatch.setattr(multi_delete, "decoupled", kept)
    # The other two losses are 0 at the original, and so are their gradients.
    done = unlearn(
        MultiDelete(partners=partners, lr=1e-5, warmup=0.0, weight_decay=0.0, epochs=1),
        batch_size=1000,
    )
    assert done.trace.steps == len(goals) == 1

    def to_go(model: ImageText) -> float:
        with torch.no_grad():
            there: Any = model(forgotten).joint_embedding
        return float((there - goals[0].of(forgotten.row).joint_embedding).square().mean())

    assert done.trace.epochs[0]["MD"] == pytest.approx(to_go(memorised), rel=1e-4)
    assert to_go(done.model) < to_go(memorised)
    assert "gate.fc2.weight" in done.trace.changed
    assert not any("running_" in name for name in done.trace.changed)


def test_without_decoupling_the_original_is_a_fixed_point(unlearn: Any) -> None:
    still = unlearn(MultiDelete(md=0.0, weight_decay=0.0, epochs=2))
    moved = unlearn(MultiDelete(weight_decay=0.0, epochs=2))
    # Only the first gradient: what is left of it is rounding, which AdamW enlarges to whole steps.
    assert still.trace.first_gradient < 1e-5 < moved.trace.first_gradient


def test_holding_each_modality_holds_the_image_head(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    def shift(ukr: float) -> tuple[float, float]:
        """How far embeddings (mean square) and predictions (the largest) are from the original's."""
        done = unlearn(MultiDelete(ukr=ukr, weight_decay=0.0, lr=1e-4, epochs=12))
        batches = list(
            Loader(small.prepared.records, small.partition.forget, batch_size=64, seed=0).epoch(0)
        )
        with torch.no_grad():
            return done.trace.epochs[-1]["UKR"], max(
                float((done.model(b).image_logits - memorised(b).image_logits).abs().max())
                for b in batches
            )

    held, free = shift(1e5), shift(0.0)
    assert 2 * held[0] < free[0]  # five times, whatever the rounding
    assert held[1] < free[1]


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    method = MultiDelete(lr=1.0, warmup=0.2)
    rates = [method.rate(step, 10) for step in range(10)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[6] == pytest.approx(0.5)
    assert method.rate(10, 10) == pytest.approx(0.0, abs=1e-12)
    assert MultiDelete(lr=1.0, warmup=0.0).rate(0, 10) == 1.0
    assert MultiDelete(lr=1.0, warmup=1.0).rate(9, 10) == 1.0
