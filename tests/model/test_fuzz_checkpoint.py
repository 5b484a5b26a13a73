"""Whatever stands in the files of a checkpoint, or of a training's progress: a model, or one clear error."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.cost import Meter
from forgetmi.core.errors import CheckpointError
from forgetmi.model import checkpoint
from forgetmi.model.checkpoint_facts import facts_digest
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.resume import EpochLoop
from tests.fuzzing import damaged, fuzz, replaced

pytestmark = pytest.mark.slow


@pytest.fixture
def stored(spec, tmp_path: Path) -> Path:
    words = [f"w{number}" for number in range(spec.text.vocabulary)]
    classes = [f"c{number}" for number in range(spec.classes)]
    checkpoint.save(
        tmp_path / "model",
        build(spec, seed=0),
        vocabulary=words,
        preprocessing={"images": {"size": 32}},
        classes=classes,
    )
    return tmp_path / "model"


def read_or_refused(directory: Path) -> None:
    """Read a checkpoint; what comes is what its digest says."""
    try:
        loaded = checkpoint.load(directory)
    except CheckpointError:
        return
    assert parameter_digest(loaded.model) == loaded.digest


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "vocab.txt"])
def test_fuzz_files_of_a_checkpoint(stored: Path, name: str) -> None:
    whole = (stored / name).read_bytes()

    @given(damaged(whole))
    def damaged_files_are_refused(content: bytes) -> None:
        (stored / name).write_bytes(content)
        read_or_refused(stored)

    fuzz(damaged_files_are_refused)


def test_fuzz_facts_under_a_right_digest(stored: Path) -> None:
    facts: dict[str, Any] = json.loads((stored / "model.json").read_text())
    facts.pop("digest")

    @given(st.data())
    def facts_fit_or_are_refused(data: st.DataObject) -> None:
        changed = replaced(data.draw, facts)
        try:
            if isinstance(changed, dict):
                changed = {**changed, "digest": facts_digest(changed)}
            text = json.dumps(changed, allow_nan=False)
        except (ValueError, TypeError):
            return  # no such file can be written
        (stored / "model.json").write_text(text, encoding="utf-8", errors="replace")
        read_or_refused(stored)

    fuzz(facts_fit_or_are_refused)


def test_fuzz_the_header_of_weights(stored: Path) -> None:
    path = stored / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header: dict[str, Any] = json.loads(whole[8 : 8 + length])

    @given(st.data())
    def headers_fit_or_are_refused(data: st.DataObject) -> None:
        try:
            text = json.dumps(replaced(data.draw, header)).encode("utf-8", "replace")
        except ValueError:
            return
        size = len(text) if data.draw(st.integers(0, 9)) else data.draw(st.integers(0, 2**64 - 1))
        path.write_bytes(size.to_bytes(8, "little") + text + whole[8 + length :])
        read_or_refused(stored)

    fuzz(headers_fit_or_are_refused)


class Counter:
    """A part whose state is a number and a tensor."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"number": 0, "weights": torch.zeros(3)}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.state = {"number": state_dict["number"], "weights": state_dict["weights"].clone()}


def go_on(file: Path) -> None:
    """Go on where a file says that a loop stopped."""
    loop = EpochLoop(2, state={"part": Counter()}, file=file, key="k", seed=0, stage="fuzz")
    try:
        with Meter():
            for _ in loop:
                pass
    except CheckpointError:
        return


def test_fuzz_progress(tmp_path: Path) -> None:
    file = tmp_path / "progress.pt"
    loop = iter(EpochLoop(2, state={"part": Counter()}, file=file, key="k", seed=0, stage="fuzz"))
    next(loop)
    next(loop)
    loop.close()
    whole = file.read_bytes()

    @given(damaged(whole))
    def damaged_progress_is_refused(content: bytes) -> None:
        file.write_bytes(content)
        go_on(file)

    fuzz(damaged_progress_is_refused)


def test_fuzz_values_of_progress(tmp_path: Path) -> None:
    file = tmp_path / "progress.pt"
    good = {
        "key": "k",
        "done": 1,
        "state": {"part": {"number": 1, "weights": [1.0, 2.0]}},
        "cost": {"seconds": 1.0, "cpu_seconds": 1.0, "peak_memory": 1},
    }

    @given(st.data())
    def values_fit_or_are_refused(data: st.DataObject) -> None:
        written = io.BytesIO()
        torch.save(replaced(data.draw, good), written)
        file.write_bytes(written.getvalue())
        go_on(file)

    fuzz(values_fit_or_are_refused)


def test_fuzz_a_whole_checkpoint_folder(stored: Path, tmp_path: Path) -> None:
    kept = shutil.copytree(stored, tmp_path / "kept")
    names = sorted(path.name for path in kept.iterdir())

    @given(st.data())
    def what_is_there_is_read_or_refused(data: st.DataObject) -> None:
        shutil.rmtree(stored)
        shutil.copytree(kept, stored)
        for name in data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True)):
            path = stored / name
            kind = data.draw(st.sampled_from(["gone", "empty", "folder", "other"]))
            path.unlink()
            if kind == "empty":
                path.write_bytes(b"")
            elif kind == "folder":
                path.mkdir()
            elif kind == "other":
                shutil.copy(kept / data.draw(st.sampled_from(names)), path)
        read_or_refused(stored)

    fuzz(what_is_there_is_read_or_refused)
