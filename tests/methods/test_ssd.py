"""SSD: dampening by hand, and its limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.methods.ssd import SSD, dampen
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.importance import squared_gradients
from tests.unlearning.reading import loaders


def test_dampening_by_hand() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[8.0, -8.0, 8.0, 5.0]]))
    forget, everyone = torch.tensor([[4.0, 4.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 2.0, 0.0]])
    chosen = torch.tensor([[True, True, True, False]])
    dampen(model, {"weight": forget}, {"weight": everyone}, {"weight": chosen}, dampening=0.5)
    assert model.weight.tolist() == [[1.0, -1.0, 8.0, 5.0]]  # the third would grow: left as it is


@pytest.fixture(scope="module")
def plain(unlearn: Any) -> Any:
    """Unlearned with the defaults."""
    return unlearn(SSD())


@pytest.mark.parametrize("each", ["sample", "batch"])
def test_no_weight_grows_and_the_others_stay(
    small: Any, memorised: ImageText, unlearn: Any, each: Any
) -> None:
    done = unlearn(SSD(alpha=2.0, each=each))
    sets = loaders(small, "labels")
    (forget, lost), (retain, held) = (
        squared_gradients(memorised, one, each=each, task=GRADES)
        for one in (sets.forget, sets.retain)
    )
    old, new = dict(memorised.named_parameters()), dict(done.model.named_parameters())
    moved = 0
    for name in forget:
        chosen = forget[name] > 2 * (lost * forget[name] + held * retain[name]) / (lost + held)
        assert torch.equal(old[name][~chosen], new[name][~chosen]), name
        assert bool((new[name].abs() <= old[name].abs()).all()), name
        moved += int((old[name] != new[name]).sum())
    assert moved > 0
    assert done.trace.steps == 0
    assert not any(name.startswith("gate.") for name in done.trace.changed)


def test_an_infinite_threshold_is_the_identity(memorised: ImageText, unlearn: Any) -> None:
    done = unlearn(SSD(alpha=math.inf))
    assert parameter_digest(done.model) == parameter_digest(memorised)


def test_at_the_bound_nothing_can_be_selected(
    memorised: ImageText, unlearn: Any, plain: Any
) -> None:
    bound = plain.trace.facts["alpha that selects nothing"]
    done = unlearn(SSD(alpha=1.001 * bound))
    assert done.trace.facts["share of weights dampened"] == {"image": 0.0, "text": 0.0}
    assert parameter_digest(done.model) == parameter_digest(memorised)


def test_without_a_remainder_the_selected_become_zero(
    memorised: ImageText, unlearn: Any, plain: Any
) -> None:
    cleared, shrunk = unlearn(SSD(dampening=0.0)), plain
    old = dict(memorised.named_parameters())
    for (name, zero), some in zip(
        cleared.model.named_parameters(), shrunk.model.parameters(), strict=True
    ):
        changed = zero != old[name]
        assert not bool(zero[changed].any())
        assert not bool((some != old[name])[~changed].any())
    assert cleared.trace.moved > shrunk.trace.moved > 0


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"dampening": -1.0}, {"alpha": math.nan}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(MethodError):
        SSD(**options)
