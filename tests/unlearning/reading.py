"""Sets of the small cohort as a method sees them."""

from __future__ import annotations

from typing import Any

from forgetmi.unlearning.loaders import GuardedLoaders


def loaders(small: Any, *reads: str, batch_size: int = 16, seed: int = 5) -> GuardedLoaders:
    """The forget, retain and validation sets, with labels if asked for ("labels")."""
    names = ("forget", "retain", "validation")
    return GuardedLoaders(
        small.prepared.records,
        {name: small.partition.rows(name) for name in names},
        patient=small.partition.patient,
        reads=frozenset({*names, *reads}),
        batch_size=batch_size,
        seed=seed,
    )
