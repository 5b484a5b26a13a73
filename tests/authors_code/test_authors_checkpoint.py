"""The authors' checkpoints: read, refused with names, written back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from forgetmi.authors_code.checkpoint import read_checkpoint, write_checkpoint
from forgetmi.authors_code.checkpoint_files import CONFIG, EPOCH_WEIGHTS, WEIGHTS
from forgetmi.authors_code.convert import from_authors, to_authors
from forgetmi.core.batch import Batch
from forgetmi.core.errors import CheckpointError
from forgetmi.model.checkpoint import load, save
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.spec import ModelSpec, TextEncoderSpec, compact


@pytest.fixture
def head(spec: ModelSpec) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "classifier.weight": torch.randn(spec.classes, spec.text.hidden, generator=draw),
        "classifier.bias": torch.randn(spec.classes, generator=draw),
    }


@pytest.fixture
def stored(tmp_path: Path, model: ImageText, head: dict[str, torch.Tensor]) -> Path:
    write_checkpoint(tmp_path / "theirs", model, unused_head=head)
    return tmp_path / "theirs"


def rewrite(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = torch.load(directory / WEIGHTS, weights_only=True)
    change(state)
    torch.save(state, directory / WEIGHTS)


def batch(length: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 20, (3, length), generator=draw)
    return Batch.image_text(
        torch.rand(3, 1, 64, 64, generator=draw),
        tokens,
        torch.ones_like(tokens),
        torch.zeros(3).long(),
        torch.arange(3),
        torch.arange(3),
    )


def outputs(model: ImageText) -> list[torch.Tensor]:
    with torch.no_grad():
        out = model.eval()(batch())
    return [
        value
        for value in (out.image_embedding, out.image_logits, out.text_embedding, out.text_logits)
        if value is not None
    ]


def encoders(model: ImageText) -> dict[str, torch.Tensor]:
    return {
        name: value for name, value in model.state_dict().items() if not name.startswith("gate.")
    }


def test_round_trip_is_exact(
    stored: Path, model: ImageText, head: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    read = read_checkpoint(stored)
    assert read.model.spec == model.spec
    assert not read.model.training
    assert all(
        torch.equal(value, read.model.state_dict()[name]) for name, value in encoders(model).items()
    )
    for one, two in zip(outputs(model), outputs(read.model), strict=True):
        assert torch.equal(one, two)
    write_checkpoint(
        tmp_path / "again", read.model, config=read.config, unused_head=read.unused_head
    )
    first, again = (
        torch.load(folder / WEIGHTS, weights_only=True) for folder in (stored, tmp_path / "again")
    )
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (stored / CONFIG).read_text() == (tmp_path / "again" / CONFIG).read_text()
    assert sorted(path.name for path in stored.iterdir()) == [CONFIG, WEIGHTS]


def test_what_is_written_holds_their_names_and_no_gate(stored: Path, model: ImageText) -> None:
    names = set(torch.load(stored / WEIGHTS, weights_only=True))
    assert {
        "classifier.weight",
        "classifier.bias",
        "text_model.classifier.weight",
        "img_model.fc1.bias",
        "img_model.layer2.0.downsample.1.running_var",
        "text_model.bert.pooler.dense.weight",
    } <= names
    assert not any(name.startswith("gate") for name in names)
    assert len(names) == len(encoders(model)) + 2


def test_the_text_branch_is_plain_bert(stored: Path, model: ImageText) -> None:
    config = BertConfig.from_dict(json.loads((stored / CONFIG).read_text()))
    bert = BertModel(config).eval()
    state = torch.load(stored / WEIGHTS, weights_only=True)
    prefix = "text_model.bert."
    bert.load_state_dict(
        {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
    )
    samples = batch()
    with torch.no_grad():
        pooled = bert(samples.tokens, attention_mask=samples.mask).pooler_output
    torch.testing.assert_close(pooled, outputs(model)[2], rtol=1e-5, atol=1e-6)


def test_old_spellings_and_position_numbers_are_read(stored: Path, model: ImageText) -> None:
    def old(state: dict[str, torch.Tensor]) -> None:
        for name in [name for name in state if "LayerNorm" in name]:
            state[name.replace("weight", "gamma").replace("bias", "beta")] = state.pop(name)
        state["text_model.bert.embeddings.position_ids"] = torch.arange(40)[None]

    rewrite(stored, old)
    read = read_checkpoint(stored).model.state_dict()
    assert all(torch.equal(value, read[name]) for name, value in encoders(model).items())


def test_every_missing_and_unexpected_weight_is_named(stored: Path) -> None:
    def spoil(state: dict[str, torch.Tensor]) -> None:
        del state["img_model.layer1.1.bn2.running_mean"], state["classifier.bias"]
        state["surplus"] = torch.zeros(1)
        state["text_model.bert.encoder.layer.1.output.dense.bias"] = torch.zeros(3)
        state["img_model.bn1.weight"][0] = float("nan")

    rewrite(stored, spoil)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(stored)
    text = str(caught.value)
    for part in (
        "img_model.layer1.1.bn2.running_mean is missing",
        "classifier.bias is missing",
        "surplus is unexpected",
        "layer.1.output.dense.bias has shape (3,)",
        "img_model.bn1.weight is not finite",
    ):
        assert part in text
    assert len(caught.value.faults) == 5


@pytest.mark.parametrize(
    "name",
    [
        "img_model.fc1.weight",
        "img_model.conv1.weight",
        "text_model.bert.embeddings.word_embeddings.weight",
    ],
)
def test_weights_that_tell_the_architecture_are_named_too(stored: Path, name: str) -> None:
    rewrite(stored, lambda state: state.pop(name))
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        read_checkpoint(stored)


def test_a_gap_in_the_layers_is_named(stored: Path) -> None:
    rewrite(stored, lambda state: [state.pop(name) for name in list(state) if ".layer.0." in name])
    with pytest.raises(CheckpointError, match=r"layer\.0\.intermediate\.dense\.weight is missing"):
        read_checkpoint(stored)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": Harmful()}, "holds more than tensors"),
        ([1, 2], "not a state dict"),
        ({}, "not a state dict"),
        ({"epoch": 3, "model": {"a": torch.zeros(1)}}, "not a state dict"),
    ],
)
def test_other_pickles_are_refused_and_not_executed(
    stored: Path,
    content: Any,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(content, stored / WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(stored)
    (stored / WEIGHTS).write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="not a state dict"):
        read_checkpoint(stored)
    assert "executed" not in capsys.readouterr().out


def test_damaged_files_and_those_of_old_versions(stored: Path, model: ImageText) -> None:
    state = torch.load(stored / WEIGHTS, weights_only=True)
    torch.save(state, stored / WEIGHTS, _use_new_zipfile_serialization=False)
    assert read_checkpoint(stored).model.spec == model.spec
    whole = (stored / WEIGHTS).read_bytes()
    (stored / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        read_checkpoint(stored)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.module."])
def test_weights_of_several_devices_are_found(stored: Path, model: ImageText, prefix: str) -> None:
    def wrapped(state: dict[str, torch.Tensor]) -> None:
        for name in list(state):
            state[f"{prefix}{name}"] = state.pop(name)

    rewrite(stored, wrapped)
    read = read_checkpoint(stored).model.state_dict()
    assert all(torch.equal(value, read[name]) for name, value in encoders(model).items())

    # Half of them under another prefix: each is named.
    def half(state: dict[str, torch.Tensor]) -> None:
        name = f"{prefix}img_model.fc1.bias"
        state[f"other.{name}"] = state.pop(name)

    rewrite(stored, half)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(stored)
    assert [fault.what for fault in caught.value.faults] == [
        "weight img_model.fc1.bias is missing",
        f"weight other.{prefix}img_model.fc1.bias is unexpected",
    ]


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("img_model.fc1.weight", lambda value: value.to(torch.int64), "is torch.int64"),
        (
            "img_model.bn1.num_batches_tracked",
            lambda value: value.float() + 0.5,
            "is torch.float32",
        ),
        ("img_model.fc1.bias", lambda value: value * torch.nan, "is not finite"),
    ],
)
def test_numbers_of_another_kind_are_named(
    stored: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor], why: str
) -> None:
    rewrite(stored, lambda state: state.update({name: change(state[name])}))
    with pytest.raises(CheckpointError, match=why) as caught:
        read_checkpoint(stored)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\3\4 and nothing more", "cut off or damaged"),
    ],
)
def test_files_that_are_no_weights_are_one_clear_line(
    stored: Path, content: bytes, why: str
) -> None:
    (stored / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match=why) as caught:
        read_checkpoint(stored)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": "wide"},
        {"num_attention_heads": None},
        {"num_attention_heads": 0},
        {"num_attention_heads": -2},
        {"hidden_dropout_prob": "no"},
        {"vocab_size": 10**18},
        {"id2label": 3},
        {"hidden_act": []},
        {"auto_map": {"AutoConfig": "evil.Evil"}, "num_attention_heads": 10**18},
    ],
)
def test_a_configuration_of_other_types_is_refused(stored: Path, values: dict[str, Any]) -> None:
    path = stored / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(CheckpointError):
        read_checkpoint(stored)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=WEIGHTS):
        read_checkpoint(tmp_path)


def test_weights_after_an_epoch_need_the_configuration_of_their_model(
    stored: Path, model: ImageText
) -> None:
    epoch = stored.parent / "epoch_3"
    epoch.mkdir()
    (stored / WEIGHTS).rename(epoch / EPOCH_WEIGHTS)
    with pytest.raises(CheckpointError, match="attention heads"):
        read_checkpoint(epoch)
    read = read_checkpoint(epoch, config=stored / CONFIG)
    assert read.model.spec == model.spec
    assert read_checkpoint(epoch / EPOCH_WEIGHTS, config=stored / CONFIG).model.spec == model.spec


def test_without_configuration_heads_are_64_wide(spec: ModelSpec, tmp_path: Path) -> None:
    from dataclasses import replace

    wide = replace(
        spec,
        image=replace(spec.image, widths=(4, 32)),
        text=replace(spec.text, hidden=128, heads=2),
    )
    write_checkpoint(tmp_path, build(wide, seed=0))
    (tmp_path / CONFIG).unlink()
    assert read_checkpoint(tmp_path).model.spec == wide


def test_a_configuration_of_another_model_is_refused(stored: Path) -> None:
    values = json.loads((stored / CONFIG).read_text())
    (stored / CONFIG).write_text(
        json.dumps({**values, "num_hidden_layers": 5, "hidden_act": "relu"})
    )
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(stored)
    assert "num_hidden_layers is 5" in str(caught.value)
    assert "hidden_act is 'relu'" in str(caught.value)


def test_their_network_cannot_be_another(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path, build(compact(4, 30), seed=0))
    assert "stem stride" in str(caught.value)
    assert "pooling" in str(caught.value)


def test_conversion_both_ways_is_lossless(
    stored: Path,
    head: dict[str, torch.Tensor],
    vocabulary: tuple[str, ...],
    tmp_path: Path,
) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text("".join(f"{word}\n" for word in vocabulary))
    digest = from_authors(stored, tmp_path / "ours", vocabulary=words, max_seq_length=20, seed=7)
    loaded = load(tmp_path / "ours")
    assert loaded.vocabulary == vocabulary
    assert loaded.preprocessing["images"] == {
        "size": 64,
        "fit": "center_crop",
        "invert": False,
        "window": "released",
        "levels": "all",
    }
    assert (
        digest
        == parameter_digest(loaded.model)
        == parameter_digest(read_checkpoint(stored, seed=7).model)
    )
    to_authors(tmp_path / "ours", tmp_path / "back")
    first, back = (
        torch.load(folder / WEIGHTS, weights_only=True) for folder in (stored, tmp_path / "back")
    )
    assert first.keys() == back.keys()
    assert all(torch.equal(first[name], back[name]) for name in first)
    assert torch.equal(back["classifier.weight"], head["classifier.weight"])
    assert json.loads((stored / CONFIG).read_text()) == json.loads(
        (tmp_path / "back" / CONFIG).read_text()
    )


def test_a_model_of_ours_gets_an_empty_third_head(
    model: ImageText,
    vocabulary: tuple[str, ...],
    tmp_path: Path,
) -> None:
    save(
        tmp_path / "ours",
        model,
        vocabulary=vocabulary,
        preprocessing={},
        classes=("a", "b", "c", "d"),
    )
    to_authors(tmp_path / "ours", tmp_path / "theirs")
    read = read_checkpoint(tmp_path / "theirs")
    assert read.model.spec == model.spec
    assert not read.unused_head["classifier.weight"].any()


def test_their_full_size_image_network_is_recognised(tmp_path: Path) -> None:
    """Seven stages at 2048 pixels, with two narrow text layers so that it stays small."""
    full = ModelSpec(text=TextEncoderSpec(layers=2, intermediate=32, vocabulary=30, positions=20))
    write_checkpoint(tmp_path, build(full, seed=0))
    (tmp_path / CONFIG).unlink()
    read = read_checkpoint(tmp_path)
    assert read.model.spec == full
    assert (
        read.model.spec.image.size,
        read.model.spec.image.features,
        read.model.spec.text.heads,
    ) == (2048, 768, 12)
    assert sum(parameter.numel() for parameter in read.model.img_model.parameters()) == 3_313_548
