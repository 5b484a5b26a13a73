"""Learning rates and shifts of training, against PyTorch's own schedulers and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from forgetmi.authors_code.recipes import FORGET_MI, JOINT_CHESTXRAY
from forgetmi.core.batch import Batch
from forgetmi.core.errors import SpecError
from forgetmi.model import schedule
from forgetmi.model.optimiser import TransformersAdamW
from forgetmi.model.recipe import Recipe
from forgetmi.model.schedule import plateau_factor, shifted


@given(some.lists(some.floats(0.1, 3.0), max_size=40), some.integers(1, 5))
def test_plateau_is_pytorchs(losses: list[float], patience: int) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, threshold=1e-6, patience=patience, eps=0.0
    )
    for loss in losses:
        schedule.step(loss)
    assert plateau_factor(losses, patience) == pytest.approx(optimiser.param_groups[0]["lr"])
    assert plateau_factor(losses, 0) == 1.0


@pytest.mark.parametrize("total", [1, 7, 40, 300])
def test_joint_chestxray_rate_is_linear_warm_up_from_zero(total: int) -> None:
    """get_linear_schedule_with_warmup, whose last steps are never 0."""
    warm = 0.1 * total
    for step in range(total):
        expected = (
            step / max(1.0, warm)
            if step < warm
            else max(0.0, (total - step) / max(1.0, total - warm))
        )
        assert JOINT_CHESTXRAY.lr_factor(step, total) == pytest.approx(expected)
    assert JOINT_CHESTXRAY.lr_factor(0, total) == 0.0
    assert {FORGET_MI.lr_factor(step, total) for step in range(total)} == {1.0}


def test_bert_optimiser_by_hand() -> None:
    """Two steps of AdamW without bias correction, its decay after the update."""
    weight = torch.tensor([2.0], requires_grad=True)
    optimiser = TransformersAdamW([weight], lr=0.1, weight_decay=0.5, correct_bias=False)
    mean, square, value = 0.0, 0.0, 2.0
    for gradient in (3.0, -1.0):
        weight.grad = torch.tensor([gradient])
        optimiser.step()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        value -= 0.1 * mean / (square**0.5 + 1e-6)
        value -= 0.1 * 0.5 * value
        assert float(weight.detach()) == pytest.approx(value, rel=1e-5)


def batch(images: torch.Tensor) -> Batch:
    n = len(images)
    zeros = torch.zeros(n, dtype=torch.int64)
    return Batch.image_text(
        images, zeros[:, None], zeros[:, None] + 1, zeros, zeros, torch.arange(n)
    )


def test_shift_moves_whole_pixels_and_brings_zeros() -> None:
    images = torch.rand(64, 1, 24, 20) + 1
    moved = shifted(batch(images), std=6.0, seed=1, epoch=0).image
    seen = set()
    for old, new in zip(images[:, 0], moved[:, 0], strict=True):
        inside = torch.nonzero(new)
        (top, left), (bottom, right) = (
            inside.min(0).values.tolist(),
            (inside.max(0).values + 1).tolist(),
        )
        down = top if top else bottom - 24
        across = left if left else right - 20
        seen.add((down, across))
        assert abs(down) <= 6
        assert abs(across) <= 6
        window = new[top:bottom, left:right]
        assert torch.equal(
            window, old[max(0, -down) : 24 - max(0, down), max(0, -across) : 20 - max(0, across)]
        )
        assert int((new > 0).sum()) == window.numel()
    assert len(seen) > 20
    assert np.std([down for down, _ in seen]) == pytest.approx(3.0, rel=0.35)


@pytest.mark.parametrize("drawn", [-7.9, -6.0, -1.2, -0.3, 0.0, 0.9, 1.0, 2.0, 5.5, 9.9])
def test_the_film_moves_as_if_one_side_were_padded_and_the_centre_cut_out(
    drawn: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joint_chestxray's RandomTranslateCrop by hand: zeros on one side by the draw, then the centre."""

    class Draw:
        def normal(self, mean: float, std: float, size: int) -> np.ndarray:
            return np.full(size, drawn)

    monkeypatch.setattr(schedule, "numpy_generator", lambda *_: Draw())
    film = torch.rand(1, 1, 13, 16) + 1
    moved = shifted(batch(film), std=5.0, seed=0, epoch=0).image[0, 0].numpy()

    whole = int(drawn)
    before, after = max(0, whole), max(0, -whole)
    padded = np.pad(film[0, 0].numpy(), [(before, after), (before, after)])
    top, left = (padded.shape[0] - 13) // 2, (padded.shape[1] - 16) // 2
    np.testing.assert_array_equal(moved, padded[top : top + 13, left : left + 16])


def test_shift_depends_on_seed_epoch_and_row_alone() -> None:
    images = torch.rand(8, 1, 16, 16)
    whole = shifted(batch(images), std=4.0, seed=1, epoch=2).image
    part = batch(images)
    one = Batch.image_text(
        *(getattr(part, name)[3:5] for name in ("image", "tokens", "mask", "label", "study", "row"))
    )
    assert torch.equal(shifted(one, std=4.0, seed=1, epoch=2).image, whole[3:5])
    assert not torch.equal(shifted(batch(images), std=4.0, seed=1, epoch=3).image, whole)
    assert not torch.equal(shifted(batch(images), std=4.0, seed=2, epoch=2).image, whole)


def test_far_shifts_leave_nothing() -> None:
    moved = shifted(batch(torch.ones(40, 1, 8, 8)), std=1000.0, seed=0, epoch=0).image
    assert float(moved.flatten(1).sum(1).min()) == 0.0


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        Recipe(plateau=-1, shift=-1.0, optimiser="sgd")  # pyright: ignore[reportArgumentType]
    assert len(caught.value.faults) == 3
