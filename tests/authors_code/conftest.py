"""Small models in the shape of the authors' and small samples for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.data.image_store import build_image_store
from forgetmi.data.loaders import SampleStore
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec

WORDS = (
    "lung",
    "edema",
    "chest",
    "normal",
    "heart",
    "clear",
    "effusion",
    "no",
    "the",
    "small",
    "new",
    "left",
    "right",
    "of",
    "is",
    "a",
)


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    """Two stages, two text layers, widths of 16, made like the authors' network."""
    return ModelSpec(
        image=ResNetSpec(
            size=64, stem_stride=4, stem_width=4, widths=(4, 4), blocks=2, pooling="average2x2"
        ),
        text=TextEncoderSpec(
            hidden=16,
            layers=2,
            heads=2,
            intermediate=24,
            vocabulary=len(SPECIAL) + len(WORDS),
            positions=40,
        ),
        classes=4,
    )


@pytest.fixture
def model(spec: ModelSpec) -> ImageText:
    return build(spec, seed=1).eval()


@pytest.fixture(scope="session")
def vocabulary() -> tuple[str, ...]:
    return (*SPECIAL, *WORDS)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory, vocabulary: tuple[str, ...]) -> SampleStore:
    """Thirty-two images of 64 pixels, one patient each."""
    folder, rng, n = tmp_path_factory.mktemp("release"), np.random.default_rng(0), 32
    np.save(folder / "stack.npy", rng.random((n, 64, 64), np.float32))
    names = np.array([f"{number:016x}" for number in range(n)], dtype=object)
    reports = np.array(
        [" ".join(rng.choice(WORDS, rng.integers(4, 20))) for _ in range(n)], dtype=object
    )
    cohort = Cohort(
        name="test",
        patient=names,
        study=names,
        image_id=names,
        group=names,
        image=np.array([f"{folder}/stack.npy#{number}" for number in range(n)], dtype=object),
        report=reports,
        label=np.arange(n) % 4,
        split=np.array([""] * n, dtype=object),
        classes=("a", "b", "c", "d"),
        task="grades",
        subgroups={},
        show_images=False,
        digest="0",
        key_id="0",
    )
    images = build_image_store(cohort, ImagePreprocessing(size=64), cache=folder / "cache")
    return SampleStore.of(cohort, images, Tokenizer(vocabulary, max_length=40))


@pytest.fixture(scope="session")
def partition() -> Partition:
    """Nine forgotten, eighteen retained images."""
    rows = np.arange(32)
    return Partition(
        forget=rows[:9],
        retain=rows[9:27],
        validation=rows[27:29],
        holdout=rows[29:],
        patient=rows,
        group=rows,
        cohort="0",
    )


@pytest.fixture(scope="session")
def oracles(shared_data: Path) -> Path:
    return shared_data / "oracles"


@pytest.fixture(scope="session")
def splits(shared_data: Path) -> Path:
    return shared_data / "mimic_splits"


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}
