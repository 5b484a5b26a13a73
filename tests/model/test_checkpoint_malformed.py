"""Checkpoint folders that were tampered with so that their digests fit: one error each, and nothing large is made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgetmi.core.errors import CheckpointError
from forgetmi.model import checkpoint
from forgetmi.model.checkpoint_facts import facts_digest
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.spec import ModelSpec
from forgetmi.model.tasks.classes import GRADES

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(45)))


@pytest.fixture
def stored(spec: ModelSpec, tmp_path: Path) -> Path:
    checkpoint.save(
        tmp_path / "model",
        build(spec, seed=0),
        vocabulary=WORDS,
        preprocessing={"size": 32},
        classes=("none", "mild", "moderate", "severe"),
    )
    return tmp_path / "model"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the facts and write the digest that fits them."""
    path = folder / "model.json"
    facts = json.loads(path.read_text())
    del facts["digest"]
    change(facts)
    path.write_text(json.dumps({**facts, "digest": facts_digest(facts)}))


def refused(folder: Path, why: str, *, faults: int = 1) -> None:
    with pytest.raises(CheckpointError, match=why) as caught:
        checkpoint.load(folder)
    assert len(caught.value.faults) == faults


def _sizes(part: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts["spec"][part].update(values)


HUGE = 10**400


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_sizes("text", hidden=2**19, heads=4), "parameters|too large"),
        (
            _sizes("text", vocabulary=999_999),
            r"word_embeddings\.weight is torch\.float32 \(50, 12\)",
        ),
        (_sizes("text", layers=900), "the architecture has 904 layers"),
        (_sizes("text", layers=3), "and [0-9]+ more tensors differ"),
        (_sizes("text", layers=10**9), "layers must be at most"),
        (_sizes("text", positions=-1), "positions must be at least 1"),
        (_sizes("image", widths=[8] * 900), "the stages have 1800 blocks together"),
        (_sizes("image", blocks=501), "blocks together"),
        (_sizes("image", widths=[8] * 400, blocks=1, pooling="average2x2"), "too small for 400"),
        (_sizes("image", stem_stride=1_000_000, pooling="average2x2"), "too small|at most"),
        (_sizes("image", size=10**9), "size must be at most"),
        (_sizes("image", widths=[]), "widths is empty"),
        (_sizes("image", blocks=1.5), "blocks does not fit"),
        (lambda facts: facts.update(members=1000), "tensors alone"),
        (lambda facts: facts.update(members=2), "more tensors differ"),
        (lambda facts: facts.update(members=10**6), "not a number of models"),
        (lambda facts: facts.update(members=True), "not a number of models"),
        (lambda facts: facts.update(classes=["none"]), "1 class names for 4 classes"),
        (lambda facts: facts.update(classes=[1, 2, 3, 4]), "no list of names"),
        (lambda facts: facts.update(classes={}), "of another type"),
        (lambda facts: facts.update(preprocessing=[]), "of another type"),
        (lambda facts: facts.update(spec=None), "of another type"),
        (lambda facts: facts.update(weights=7), "of another type"),
        (lambda facts: facts.update(extra={"deep": [[[[{}]]]]}, format=[]), "its format is"),
    ],
)
def test_facts_with_a_fitting_digest_are_still_checked(
    stored: Path, change: Callable[[dict[str, Any]], Any], why: str
) -> None:
    rewrite(stored, change)
    with pytest.raises(CheckpointError, match=why):
        checkpoint.load(stored)


@pytest.mark.parametrize(
    "content",
    [
        f'{{"members": {HUGE}}}',
        '{"members": 1e999}',
        '{"members": NaN}',
        '{"format": 1, "format": 1}',
        '{"extra": ' + "[" * 50_000 + "]" * 50_000 + "}",
        "[" * 1_000_000,
        '"text"',
        "",
        "version https://git-lfs.github.com/spec/v1",
        '{"version": "\\ud800"}',
    ],
)
def test_unreadable_facts_are_refused(stored: Path, content: str) -> None:
    (stored / "model.json").write_text(content)
    with pytest.raises(CheckpointError):
        checkpoint.load(stored)


def test_weights_of_another_model_are_told_from_damage(stored: Path, spec: ModelSpec) -> None:
    other = stored.parent / "other"
    checkpoint.save(
        other,
        build(spec, seed=1),
        vocabulary=WORDS,
        preprocessing={},
        classes=("none", "mild", "moderate", "severe"),
    )
    (stored / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    refused(stored, "was altered after it was written")

    # An ensemble's in place of a single model's.
    model = Ensemble([build(spec, seed=0), build(spec, seed=1)], task=GRADES)
    save_file(
        {name: value.clone() for name, value in model.state_dict().items()},
        stored / "model.safetensors",
    )
    refused(stored, "more tensors differ", faults=6)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
        (b"\xff" * 100, "cut off or damaged"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "it holds 0 tensors alone"),
        (b"\x10\0\0\0\0\0\0\0" + b'{"\xff": {}}    ', "cut off or damaged"),
    ],
)
def test_weights_that_cannot_be_read_say_why(stored: Path, content: bytes, why: str) -> None:
    (stored / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=why):
        checkpoint.load(stored)


def test_a_tensor_of_another_type_is_named(stored: Path) -> None:
    tensors = load_file(stored / "model.safetensors")
    tensors["img_model.fc1.bias"] = tensors["img_model.fc1.bias"].half()
    save_file(tensors, stored / "model.safetensors")
    refused(stored, r"img_model\.fc1\.bias is torch\.float16 \(4,\)")


def test_a_vocabulary_that_is_no_text_or_of_another_length_is_refused(stored: Path) -> None:
    for words in (b"\xff\xfe\n", b"", b"a\n" * 51):
        (stored / "vocab.txt").write_bytes(words)
        digest = hashlib.sha256(words).hexdigest()
        rewrite(stored, lambda facts, digest=digest: facts.update(vocabulary=digest))
        refused(stored, "word pieces for a model of 50")


def test_a_pipe_is_not_waited_for(stored: Path) -> None:
    for name in ("model.json", "vocab.txt", "model.safetensors"):
        content = (stored / name).read_bytes()
        (stored / name).unlink()
        os.mkfifo(stored / name)
        with pytest.raises(CheckpointError):
            checkpoint.load(stored)
        (stored / name).unlink()
        (stored / name).write_bytes(content)


def test_nothing_changes_for_a_sound_checkpoint(stored: Path, spec: ModelSpec) -> None:
    loaded = checkpoint.load(stored)
    assert loaded.digest == parameter_digest(build(spec, seed=0))
    assert not any(value.is_meta for value in loaded.model.buffers())
    assert all(torch.isfinite(value).all() for value in loaded.model.parameters())
