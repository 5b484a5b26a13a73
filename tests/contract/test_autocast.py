"""Every method runs under autocast, whose matrix products are in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forgetmi.core.registry import methods
from tests.contract.conftest import quick
from tests.contract.test_methods import apply

# One for each way in which methods compute: losses between models, gradients squared, closed forms, averaged outputs
FEW = {
    *("forget_mi", "forget_mi_release", "scrub", "ssd", "newton_heads", "chip", "consensus"),
    *("calibrated_consensus", "multi_delete", "sisa"),
}


def runs_under_autocast(name: str, small: Any, original: Any) -> None:
    """A method ends with finite weights."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        done = apply(small, original, quick(name, epochs=1))
    for value in done.model.state_dict().values():
        assert not value.is_floating_point() or bool(torch.isfinite(value).all())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FEW else [pytest.mark.slow])
        for name in methods.names()
    ],
    scope="module",
)
def test_runs_under_autocast(name: str, small: Any, original: Any) -> None:
    runs_under_autocast(name, small, original)
