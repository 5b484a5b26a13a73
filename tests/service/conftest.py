"""A checkpoint of a small model, which names the patients of its cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def stored(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model's checkpoint, written at the front door."""
    import forgetmi
    from forgetmi.model.initialise import build

    folder = tmp_path_factory.mktemp("service") / "model"
    forgetmi.save(
        folder,
        build(small.prepared.spec, seed=0),
        prepared=small.prepared,
        partition=small.partition,
        without_forgotten=False,
    )
    return folder
