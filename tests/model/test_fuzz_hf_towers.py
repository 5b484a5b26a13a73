"""Whatever stands in the settings of a Hugging Face folder: an encoder of those settings, or clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import CheckpointError, Fault, MethodError, SpecError
from forgetmi.model.tower_specs.hf import HfTextSpec, HfVisionSpec
from forgetmi.model.tower_specs.protocol import TrainingData
from tests.fuzzing import damaged, fuzz, replaced
from tests.model.test_hf_towers import PREPROCESSOR, TEXT, VISION, stored

pytestmark = pytest.mark.slow


def build_or_refused(spec: Any) -> None:
    """A tower with its pretrained weights, or an error of this package on one line."""
    faults: tuple[Fault, ...] = ()
    try:
        resolved = spec.resolve(TrainingData())
        tower = resolved.build()
        tower.load_state_dict(resolved.pretrained())
        assert tower.width > 0
    except (SpecError, CheckpointError, MethodError) as error:
        faults = error.faults
    for fault in faults:
        assert "\n" not in str(fault)
        assert len(str(fault)) < 3000


CASES = [
    ("config.json", HfTextSpec, "distilbert", TEXT),
    ("config.json", HfVisionSpec, "vit", VISION),
    ("preprocessor_config.json", HfVisionSpec, "dinov2", VISION),
]


@pytest.mark.parametrize(("name", "spec", "kind", "sizes"), CASES)
def test_fuzz_settings_of_towers(
    name: str, spec: Any, kind: str, sizes: Any, tmp_path: Path
) -> None:
    stored(tmp_path, kind, sizes[kind])
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    content = (tmp_path / name).read_bytes()
    values = json.loads(content)

    @given(st.data())
    def settings_are_read_or_refused(data: Any) -> None:
        if data.draw(st.booleans()):
            changed = json.dumps(replaced(data.draw, values)).encode()
        else:
            changed = data.draw(damaged(content))
        (tmp_path / name).write_bytes(changed)
        build_or_refused(spec(source=str(tmp_path)))

    fuzz(settings_are_read_or_refused)
