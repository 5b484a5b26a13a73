"""Whatever stands in a text encoder's folder: its weights, or clear errors; no code of it is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL
from forgetmi.model.pretrained import pretrained_encoder, pretrained_text
from forgetmi.run.pretrained import check_encoder
from tests.fuzzing import damaged, fuzz, replaced

pytestmark = pytest.mark.slow

WORDS = (*SPECIAL, "heart", "##s", ".")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT in every form that is read; the first counts."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    folder = tmp_path / "bert"
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Copies, since the library maps the file, which these tests write again."""
    mapped = load_file(folder / "model.safetensors")
    return {name: value.clone() for name, value in mapped.items()}


def read_or_refused(folder: Path, whole: dict[str, torch.Tensor]) -> None:
    """Read an encoder; what comes has every weight of the encoder, and finite numbers."""
    faults: tuple[Fault, ...] = ()
    weights = whole
    try:
        text = pretrained_text(str(folder))
        weights = dict(pretrained_encoder(text).weights)
        check_encoder(text, Tokenizer.from_pretrained_directory(folder, max_length=16))
    except (SpecError, CheckpointError) as error:
        faults = error.faults
    assert all("\n" not in str(fault) for fault in faults)

    pooler = {name for name in whole if name.startswith("pooler.")}
    assert whole.keys() - pooler <= weights.keys() <= whole.keys()
    assert all(bool(value.isfinite().all()) for value in weights.values())


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "pytorch_model.bin", "vocab.txt", "tokenizer.json"]
)
def test_fuzz_files_of_an_encoder(folder: Path, name: str) -> None:
    weights = read_weights(folder)
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / name)
    if name == "tokenizer.json":
        write_tokenizer(folder)
    content = (folder / name).read_bytes()

    @given(damaged(content))
    def damaged_files_are_read_or_refused(changed: bytes) -> None:
        (folder / name).write_bytes(changed)
        read_or_refused(folder, weights)

    fuzz(damaged_files_are_read_or_refused)


def write_tokenizer(folder: Path) -> None:
    """The same tokenizer in one file."""
    (folder / "vocab.txt").unlink(missing_ok=True)
    values = {
        "added_tokens": [{"id": 0, "content": "[PAD]"}],
        "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "vocab": {word: at for at, word in enumerate(WORDS)}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(values))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_fuzz_values_of_an_encoders_settings(folder: Path, name: str) -> None:
    weights = read_weights(folder)
    if name == "tokenizer.json":
        write_tokenizer(folder)
    values: dict[str, Any] = json.loads((folder / name).read_text())

    @given(st.data())
    def values_fit_or_are_refused(data: st.DataObject) -> None:
        try:
            text = json.dumps(replaced(data.draw, values))
        except ValueError:
            return  # no such file can be written
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
        read_or_refused(folder, weights)

    fuzz(values_fit_or_are_refused)


KINDS = ["gone", "prefix", "shape", "type", "nan", "zero", "name", "twice", "no tensor", "expanded"]


def test_fuzz_tensors_of_an_encoder(folder: Path) -> None:
    weights = read_weights(folder)
    (folder / "model.safetensors").unlink()

    @given(st.data())
    def tensors_fit_or_are_refused(data: st.DataObject) -> None:
        stored: dict[Any, Any] = dict(weights)
        for _ in range(data.draw(st.integers(1, 3))):
            name = data.draw(st.sampled_from(sorted(weights)))
            value = weights[name].clone()
            match data.draw(st.sampled_from(KINDS)):
                case "gone":
                    stored.pop(name, None)
                case "prefix":
                    prefix = data.draw(st.sampled_from(["module.", "a.b.", "x", "."]))
                    stored = {f"{prefix}{key}": kept for key, kept in stored.items()}
                case "shape":
                    stored[name] = value.flatten()[: data.draw(st.integers(0, 9))]
                case "type":
                    kinds = [torch.float16, torch.int8, torch.bool, torch.complex64, torch.float64]
                    stored[name] = value.to(data.draw(st.sampled_from(kinds)))
                case "nan":
                    stored[name] = value * float("nan")
                case "zero":
                    stored[name] = torch.zeros_like(value)
                case "name":
                    stored[data.draw(st.one_of(st.text(max_size=5), st.integers()))] = value
                case "twice":
                    stored[f"other.{name}"] = value
                case "no tensor":
                    stored[name] = data.draw(st.one_of(st.none(), st.text(), st.integers()))
                case "expanded":
                    stored[name] = torch.zeros(1).expand(2**40)
        torch.save(stored, folder / "pytorch_model.bin")
        read_or_refused(folder, weights)

    fuzz(tensors_fit_or_are_refused)


def test_fuzz_an_index_of_shards(folder: Path) -> None:
    weights = read_weights(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file in parts for name in parts[file]}}
    (folder / "c.safetensors").write_bytes(b"")

    @given(st.data())
    def indices_fit_or_are_refused(data: st.DataObject) -> None:
        changed = replaced(data.draw, index)
        weight_map = changed.get("weight_map") if isinstance(changed, dict) else None
        if isinstance(weight_map, dict) and data.draw(st.booleans()):
            shards = [*parts, "c.safetensors", "../bert/a.safetensors", ".", "", "d.safetensors"]
            more = {"x": data.draw(st.sampled_from(shards))}
            changed = {**changed, "weight_map": {**weight_map, **more}}
        try:
            text = json.dumps(changed)
        except ValueError:
            return
        path = folder / "model.safetensors.index.json"
        path.write_text(text, encoding="utf-8", errors="replace")
        read_or_refused(folder, weights)

    fuzz(indices_fit_or_are_refused)


def test_fuzz_a_whole_encoder_folder(folder: Path, tmp_path: Path) -> None:
    weights = read_weights(folder)
    kept = shutil.copytree(folder, tmp_path / "kept")
    torch.save(weights, kept / "pytorch_model.bin")
    names = [*sorted(path.name for path in kept.iterdir()), "tokenizer.json", "added_tokens.json"]

    @given(st.data())
    def what_is_there_is_read_or_refused(data: st.DataObject) -> None:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        for name in data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True)):
            path = folder / name
            kind = data.draw(st.sampled_from(["gone", "empty", "folder", "other", "pointer"]))
            path.unlink(missing_ok=True)
            if kind == "empty":
                path.write_bytes(b"")
            elif kind == "folder":
                path.mkdir()
            elif kind == "pointer":
                path.write_text("version https://git-lfs.github.com/spec/v1\n")
            elif kind == "other":
                shutil.copy(kept / data.draw(st.sampled_from(names[:-2])), path)
        read_or_refused(folder, weights)

    fuzz(what_is_there_is_read_or_refused)
