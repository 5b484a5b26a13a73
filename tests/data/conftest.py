"""Small cohorts made of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.core.cohort import Cohort

MakeCohort = Callable[..., Cohort]


def strings(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.fixture
def make_cohort() -> MakeCohort:
    """A cohort of the given locators and reports; rows are patients of their own unless said otherwise."""

    def make(
        locators: Sequence[str],
        reports: Sequence[str] | None = None,
        *,
        patients: Sequence[str] | None = None,
        studies: Sequence[str] | None = None,
    ) -> Cohort:
        n = len(locators)
        names = strings([f"{number:016x}" for number in range(n)])
        who = names if patients is None else strings(patients)
        return Cohort(
            name="test",
            patient=who,
            study=names if studies is None else strings(studies),
            image_id=names,
            group=who,
            image=strings(locators),
            report=strings(reports or ["clear lungs."] * n),
            label=np.arange(n) % 3,
            split=strings([""] * n),
            classes=("a", "b", "c"),
            task="grades",
            subgroups={},
            show_images=False,
            digest="0",
            key_id="0",
        )

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Eight different 8-bit images as PNG files, 20 x 16 pixels, written long ago."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for number in range(8):
        path = folder / f"picture{number}.png"
        Image.fromarray(rng.integers(0, 256, (20, 16), np.uint8)).save(path)
        os.utime(path, (1e9, 1e9))
        paths.append(str(path))
    return paths
