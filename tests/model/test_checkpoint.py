from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgetmi.core.errors import CheckpointError
from forgetmi.model import checkpoint
from forgetmi.model.checkpoint_facts import facts_digest
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build

CLASSES = ("none", "mild", "moderate", "severe")
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a\u2028b",
    "c\rd",
    *(f"w{i}" for i in range(43)),
)


@pytest.fixture
def stored(spec, tmp_path):
    model = build(spec, seed=0)
    digest = checkpoint.save(
        tmp_path / "model",
        model,
        vocabulary=WORDS,
        preprocessing={"size": 32, "fit": "pad"},
        classes=CLASSES,
        extra={"seed": 0, "parts": (1, 2)},
    )
    return tmp_path / "model", model, digest


def test_round_trip(stored, samples):
    directory, model, digest = stored
    torch.manual_seed(3)
    before = torch.get_rng_state()
    loaded = checkpoint.load(directory, expect=model.spec)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.digest == digest == parameter_digest(loaded.model) == parameter_digest(model)
    assert (loaded.spec, loaded.classes, loaded.vocabulary) == (model.spec, CLASSES, WORDS)
    assert loaded.preprocessing == {"size": 32, "fit": "pad"}
    assert loaded.extra == {"seed": 0, "parts": [1, 2]}
    batch = samples(3, batch_size=3).all
    assert torch.equal(loaded.model(batch).joint_embedding, model.eval()(batch).joint_embedding)
    assert not loaded.model.training


def test_saving_replaces_the_whole_checkpoint(stored, spec):
    directory, _, old = stored
    new = checkpoint.save(
        directory, build(spec, seed=1), vocabulary=WORDS, preprocessing={}, classes=CLASSES
    )
    assert new != old
    assert checkpoint.load(directory).digest == new
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_foreign_files_are_never_replaced(stored, spec):
    directory, _, digest = stored
    (directory / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="other files"):
        checkpoint.save(
            directory, build(spec, seed=1), vocabulary=WORDS, preprocessing={}, classes=CLASSES
        )
    assert checkpoint.load(directory).digest == digest


def test_parts_must_fit(spec, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(
            tmp_path / "model",
            build(spec, seed=0),
            vocabulary=["a\n"],
            classes=["x"],
            preprocessing={"when": object()},
            extra={},
        )
    assert len(caught.value.faults) == 4
    with pytest.raises(CheckpointError, match="plain JSON"):
        checkpoint.save(
            tmp_path / "model",
            build(spec, seed=0),
            vocabulary=WORDS,
            classes=CLASSES,
            preprocessing={"x": float("nan")},
        )
    assert not list(tmp_path.iterdir())


def test_missing_files_are_all_named(stored):
    directory, _, _ = stored
    (directory / "model.json").unlink()
    (directory / "vocab.txt").unlink()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(directory)
    assert [fault.what for fault in caught.value.faults] == [
        "model.json is missing",
        "vocab.txt is missing",
    ]


def test_another_architecture_is_named(stored):
    directory, model, _ = stored
    other = replace(model.spec, classes=3, image=replace(model.spec.image, blocks=1))
    with pytest.raises(CheckpointError, match=r"image.blocks is 2, not 1; classes is 4, not 3"):
        checkpoint.load(directory, expect=other)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "vocab.txt"])
def test_one_changed_byte_is_found(stored, name):
    directory, _, _ = stored
    raw = bytearray((directory / name).read_bytes())
    at = len(raw) - 5 if name != "model.json" else raw.index(b"none")
    raw[at] ^= 1
    (directory / name).write_bytes(raw)
    with pytest.raises(CheckpointError, match="altered after it was written"):
        checkpoint.load(directory)


def test_altered_weights_and_words_are_reported_together(stored):
    directory, _, _ = stored
    tensors = load_file(directory / "model.safetensors")
    tensors["extra"] = tensors.pop("gate.norm.bias")
    tensors["img_model.fc1.bias"] = torch.zeros(9)
    save_file(tensors, directory / "model.safetensors")
    (directory / "vocab.txt").write_text("a\n")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(directory)
    text = str(caught.value)
    assert len(caught.value.faults) == 4
    for part in ("vocab.txt", "gate.norm.bias is missing", "unknown tensor extra", "(9,)"):
        assert part in text


@pytest.mark.parametrize("raw", [b"", b"\x80\x04.", b"{}", b"[1]"])
def test_unreadable_files_are_refused(stored, raw):
    directory, _, _ = stored
    for name in ("model.json", "model.safetensors"):
        good = (directory / name).read_bytes()
        (directory / name).write_bytes(raw)
        with pytest.raises(CheckpointError):
            checkpoint.load(directory)
        (directory / name).write_bytes(good)
    checkpoint.load(directory)


def test_unknown_fields_formats_and_bad_specs_are_refused(stored):
    directory, _, _ = stored
    path = directory / "model.json"

    def rewrite(**changes):
        facts = json.loads(path.read_text())
        del facts["digest"]
        facts |= changes
        path.write_text(json.dumps({**facts, "digest": facts_digest(facts)}))

    original = path.read_text()
    rewrite(author="me", format=2)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(directory)
    assert len(caught.value.faults) == 2
    path.write_text(original)
    spec = json.loads(original)["spec"]
    spec["text"]["heads"] = 5
    rewrite(spec={**spec, "colour": 1})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(directory)
    # What a stored file holds is not quoted.
    assert "unknown key at the top (not quoted). Known here: image, text, classes" in str(
        caught.value
    )
    assert len(caught.value.faults) == 2
