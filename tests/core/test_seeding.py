"""Seeds and the global generators."""

from __future__ import annotations

import torch

from forgetmi.core import seeding


def test_seeds_depend_on_every_key_and_scope_restores() -> None:
    assert (
        len(
            {
                seeding.derive(0),
                seeding.derive(1),
                seeding.derive(0, "a"),
                seeding.derive(0, "a", 1),
                seeding.derive(0, "a", "1"),
                seeding.derive(0, "a1"),
            }
        )
        == 6
    )
    assert seeding.derive(3, "train", 2) == seeding.derive(3, "train", 2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeding.scope(0, "x"):
        first = torch.rand(2)
    with seeding.scope(0, "x"):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(torch.get_rng_state(), before)
