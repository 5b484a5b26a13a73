"""CLIPErase: its two terms by hand, its limit, and the link it is to dissolve."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Outputs
from forgetmi.core.errors import MethodError
from forgetmi.data.loaders import Loader
from forgetmi.methods.clip_erase import CLIPErase, drift, pair_similarity
from forgetmi.methods.fine_tune import FineTune
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.unlearning.loop import embeddings, unimodal


def outputs(image: Any, text: Any, joint: Any) -> Outputs:
    return Outputs.image_text(
        torch.zeros(2, 4),
        torch.zeros(2, 4),
        *(torch.tensor(value) for value in (image, text, joint)),
    )


def test_similarity_by_hand_ignores_opposed_pairs() -> None:
    out = outputs([[1.0, 0.0], [2.0, 0.0]], [[3.0, 3.0], [-1.0, 0.0]], [[0.0], [0.0]])
    assert float(pair_similarity(out)) == pytest.approx((1 / math.sqrt(2) + 0) / 2, abs=1e-6)


def test_drift_by_hand() -> None:
    old = outputs([[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]], [[0.0], [5.0]])
    new = outputs([[3.0, 0.0], [1.0, 1.0]], [[0.0, 4.0], [1.0, 1.0]], [[2.0], [5.0]])
    assert float(drift(new, old)) == pytest.approx((5 + 0) / 2 + (2 + 0) / 2)
    assert float(drift(old, old)) == 0.0


def drawn(draw: torch.Generator, count: int, width: int, joint: int) -> Outputs:
    none = torch.zeros(count, 4)
    return Outputs.image_text(
        none,
        none,
        *(
            torch.randn(count, own, generator=draw, dtype=torch.float64)
            for own in (width, width, joint)
        ),
    )


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 5))
def test_similarity_against_a_loop(seed: int, count: int, width: int) -> None:
    out = drawn(torch.Generator().manual_seed(seed), count, width, 1)
    cosines = [
        dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))
        for a, b in zip(*unimodal(out).values(), strict=True)
    ]
    slow = sum(max(0.0, cosine) for cosine in cosines) / count
    assert float(pair_similarity(out)) == pytest.approx(slow, rel=1e-9, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
def test_drift_against_a_loop(seed: int, count: int, width: int, joint: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    new, old = (drawn(draw, count, width, joint) for _ in range(2))
    slow = 0.0
    for at in range(count):
        image, text, both = (
            a[at] - b[at]
            for a, b in zip(embeddings(new).values(), embeddings(old).values(), strict=True)
        )
        slow += (
            math.sqrt(dot(image, image) + dot(text, text)) + math.sqrt(dot(both, both))
        ) / count
    assert float(drift(new, old)) == pytest.approx(
        slow, abs=1e-6
    )  # smooth at 0: see `losses.distance`


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_without_its_two_terms_it_is_fine_tuning(
    unlearn: Any, bn: Literal["eval", "train"]
) -> None:
    erased = unlearn(CLIPErase(forget=0.0, consistency=0.0, epochs=1, lr=1e-3, bn=bn))
    plain = unlearn(FineTune(epochs=1, lr=1e-3, bn=bn))
    assert parameter_digest(erased.model) == parameter_digest(plain.model)
    assert erased.trace.samples["forget"] == 0
    assert erased.trace.samples["retain"] == plain.trace.samples["retain"]


@torch.no_grad()
def link(small: Any, model: ImageText) -> float:
    """Mean cosine of the forgotten pairs."""
    batches = Loader(
        small.prepared.records, small.partition.forget, batch_size=64, seed=0, shuffle=False
    ).epoch(0)
    cosines = []
    for batch in batches:
        out = model(batch)
        assert out.image_embedding is not None
        assert out.text_embedding is not None
        cosines.append(
            torch.nn.functional.cosine_similarity(out.image_embedding, out.text_embedding, dim=1)
        )
    return float(torch.cat(cosines).mean())


def test_the_forgotten_pairs_come_apart(small: Any, memorised: ImageText, unlearn: Any) -> None:
    done = unlearn(CLIPErase(epochs=3, forget=1.0))
    plain = unlearn(CLIPErase(epochs=3, forget=0.0))
    assert link(small, done.model) < min(link(small, memorised), link(small, plain.model)) - 0.05


def test_consistency_holds_the_retained(unlearn: Any) -> None:
    """By steps so small that a distance can be held: large ones overshoot it, whatever its weight."""
    held, free = (
        unlearn(CLIPErase(epochs=4, lr=1e-4, forget=1.0, consistency=weight)).trace.epochs[-1][
            "consistency"
        ]
        / weight
        for weight in (10.0, 1e-6)
    )
    assert held < 0.5 * free  # a fifth at most, whatever the rounding


def test_a_single_modality_has_no_pairs() -> None:
    with pytest.raises(MethodError, match="two modalities"):
        pair_similarity(Outputs({}, {"image": torch.ones(2, 3)}))
