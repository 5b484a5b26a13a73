"""A small "published" Vision Transformer, and the small cohort made ready for a model on it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forgetmi.core.registry import towers
from forgetmi.model.architecture import Architecture
from forgetmi.model.tower_specs.hf import HfVisionSpec
from forgetmi.model.tower_specs.protocol import TrainingData
from tests.model.test_hf_towers import PREPROCESSOR, VISION, stored


@contextmanager
def published(folder: Path) -> Iterator[None]:
    """Store it in a folder, and let it be named as a tower."""
    added = "hf_vision" not in towers.names()
    if added:
        towers.add("hf_vision", HfVisionSpec)
    stored(folder, "vit", VISION["vit"])
    rules = {**PREPROCESSOR, "crop_size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(rules))

    yield
    if added:
        towers.remove("hf_vision")


def on_tower(prepared: Any, folder: Path, options: str = "") -> Any:
    """A prepared cohort for an image model on the stored tower.

    Args:
        prepared: For this package's own model.
        folder: Of the tower.
        options: Of the tower, such as "frozen=2".
    """
    tower = f"image=hf_vision:{folder}" + (f",{options}" if options else "")
    architecture = Architecture(towers=(tower,), width=6)
    spec = architecture.compose(classes=prepared.spec.classes, training=TrainingData())
    return dataclasses.replace(prepared, spec=spec)
