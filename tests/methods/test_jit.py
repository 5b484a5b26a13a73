"""JiT: the Lipschitz term in closed form, and that no one but the forgotten is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.errors import MethodError
from forgetmi.data.loaders import Loader
from forgetmi.methods import jit
from forgetmi.methods.jit import JiT, disturb, lipschitz


def test_the_constant_by_hand() -> None:
    clean, noisy = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, 6.0], [5.0, 12.0]])
    x, moved = (
        torch.zeros(2, 1, 2, 2),
        torch.tensor([[[[1.0, 1.0], [-1.0, 1.0]]], [[[0.0, 3.0], [4.0, 0.0]]]]),
    )
    assert float(lipschitz(clean, noisy, x, moved)) == pytest.approx((5 / 2 + 13 / 5) / 2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 10))
def test_a_linear_map_is_bounded_by_its_norm(seed: int, std: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    weight, x, step = (
        torch.randn(*shape, generator=draw, dtype=torch.float64)
        for shape in ((3, 6), (4, 6), (4, 6))
    )
    moved = x + std * step
    found = float(lipschitz(x @ weight.T, moved @ weight.T, x, moved))
    exact = (((moved - x) @ weight.T).norm(dim=1) / (moved - x).norm(dim=1)).mean()
    assert found <= float(torch.linalg.matrix_norm(weight, 2)) + 1e-9
    assert found == pytest.approx(float(exact), rel=1e-2)


def test_a_constant_map_has_none_and_its_gradient_is_finite() -> None:
    out = torch.ones(2, 3, requires_grad=True)
    for moved in (torch.zeros(2, 5), torch.ones(2, 5)):  # the first: noise that changes nothing
        loss = lipschitz(out, torch.ones(2, 3), torch.zeros(2, 5), moved)
        assert loss.item() == 0.0
        assert torch.equal(torch.autograd.grad(loss, out)[0], torch.zeros(2, 3))


def test_no_gradient_flows_through_the_noisy_copy() -> None:
    clean, noisy = (torch.full((1, 2), value, requires_grad=True) for value in (1.0, 3.0))
    lipschitz(clean, noisy, torch.zeros(1, 4), torch.ones(1, 4)).backward()
    assert noisy.grad is None
    assert clean.grad is not None
    assert bool((clean.grad < 0).all())  # descending moves the clean output towards the noisy one


def test_noise_has_its_size_and_stays_in_range() -> None:
    values = torch.cat([torch.tensor([0.0, 1.0]), torch.full((20_000,), 0.5)])
    moved = disturb(values, std=0.05, generator=torch.Generator().manual_seed(0))
    assert float(moved.min()) >= 0.0
    assert float(moved.max()) <= 1.0
    assert float((moved - values).std()) == pytest.approx(0.05, rel=0.05)
    assert torch.equal(disturb(values, std=0.0, generator=torch.Generator()), values)


@pytest.mark.parametrize("std", [0.0, 1e-12, 1e-6])
def test_small_noise_is_finite(unlearn: Any, std: float) -> None:
    done = unlearn(JiT(copies=1, image_std=std, text_std=std, epochs=1))
    assert all(bool(torch.isfinite(p).all()) for p in done.model.parameters())
    if std == 0.0:
        assert done.trace.epochs == ({"image": 0.0, "text": 0.0},)


def test_a_step_moves_the_forgotten_towards_their_noisy_copies_reading_no_one_else(
    small: Any,
    unlearn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Towards the original's outputs for the copies: they move, too, and many steps may make the model less flat."""
    asked: list[tuple[torch.Tensor, ...]] = []

    def kept(clean: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        asked.append((clean.detach(), *given))
        return lipschitz(clean, *given)

    monkeypatch.setattr(jit, "lipschitz", kept)
    done = unlearn(JiT(copies=3, epochs=1, lr=1e-5), batch_size=1000)
    batch = next(
        Loader(small.prepared.records, small.partition.forget, batch_size=1000, seed=5).epoch(0)
    )
    with torch.no_grad():
        out = done.model(batch)
    for name, new, found in zip(
        ("image", "text"),
        (out.image_logits, out.text_logits),
        (asked[::2], asked[1::2]),
        strict=True,
    ):
        assert len(found) == 3
        before, after = (
            sum(float(lipschitz(now, *given)) for now, given in pairs) / 3
            for pairs in (
                [(clean, given) for clean, *given in found],
                [(new, given) for _, *given in found],
            )
        )
        assert done.trace.epochs[0][name] == pytest.approx(before, rel=1e-5)
        assert after < before
    assert done.trace.steps == 1
    assert done.trace.samples == {"forget": len(small.partition.forget)}
    assert not any("word_embeddings" in name or "running_" in name for name in done.trace.changed)


@pytest.mark.parametrize("options", [{"copies": 0}, {"image_std": -1.0}, {"text_std": -1.0}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MethodError):
        JiT(**options)
