"""Folders of pretrained text encoders as people have them: every weight is found, or one line says which is not."""

from __future__ import annotations

import builtins
import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel

import forgetmi
from forgetmi.core.errors import SpecError
from forgetmi.model.initialise import build
from forgetmi.model.pretrained import pretrained_encoder, pretrained_text, pretrained_weights
from forgetmi.model.spec import ModelSpec, TextEncoderSpec

WORDS = "embeddings.word_embeddings.weight"
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as the library writes it."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def weights(original: Path) -> Weights:
    return load_file(original / "model.safetensors")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A folder with the configuration alone."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_bytes((original / "config.json").read_bytes())
    return folder


def read(folder: Path) -> Weights:
    return pretrained_weights(pretrained_text(str(folder)))


def configure(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def same(one: Weights, two: Weights) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


PREFIXES = ["", "bert.", "module.", "module.bert.", "text_encoder.", "model.", "model.text_model."]


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_weights_under_any_prefix_are_found(
    folder: Path, weights: Weights, prefix: str, form: str
) -> None:
    stored = {f"{prefix}{name}": value for name, value in weights.items()}
    stored["img_model.conv1.weight"] = torch.zeros(3)
    stored["cls.predictions.bias"] = torch.zeros(3)
    if form == "safetensors":
        save_file(stored, folder / "model.safetensors")
    else:
        torch.save(stored, folder / "pytorch_model.bin")
    assert same(read(folder), weights)


def test_the_library_reads_the_same_weights(original: Path, weights: Weights) -> None:
    assert list(read(original)) == list(BertModel.from_pretrained(original).state_dict())
    assert same(read(original), BertModel.from_pretrained(original).state_dict())


def test_old_spellings_nested_files_and_counters_are_read(folder: Path, weights: Weights) -> None:
    old = {}
    for name, value in weights.items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old[name.replace("LayerNorm.bias", "LayerNorm.beta")] = value
    old["embeddings.position_ids"] = torch.arange(16)[None]
    torch.save({"epoch": 3, "state_dict": old}, folder / "pytorch_model.bin")
    assert same(read(folder), weights)

    # One weight in both spellings: which one counts is unknown.
    name = "embeddings.LayerNorm.weight"
    torch.save({**old, name: weights[name]}, folder / "pytorch_model.bin")
    with pytest.raises(SpecError, match=r"stored in an old and in today's spelling"):
        read(folder)


def test_shards_are_read(folder: Path, weights: Weights) -> None:
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "part_2.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / file)
    index = {name: file for file, held in parts.items() for name in held}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    assert same(read(folder), weights)

    # A shard is missing, and named.
    (folder / "part_2.safetensors").unlink()
    with pytest.raises(SpecError, match=r"part_2\.safetensors.*there is no such file"):
        read(folder)


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", "..", 3, "a\\b"]
)
def test_an_index_does_not_lead_out_of_the_folder(
    folder: Path, weights: Weights, shard: Any
) -> None:
    save_file(weights, folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {WORDS: shard}}))
    with pytest.raises(SpecError, match=r"a shard is not named as a \.safetensors file"):
        read(folder)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 440449768\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (POINTER, "it is a git-lfs pointer, not the weights"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\x00" * 1000, "damaged|no PyTorch file"),
        (b"hello, world", "damaged|no PyTorch file"),
        ("cut", "damaged"),
        ("half", "damaged"),
    ],
)
def test_files_that_are_no_weights_are_one_clear_line(
    folder: Path, weights: Weights, name: str, content: bytes | str, why: str
) -> None:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        (save_file if name.endswith("safetensors") else torch.save)(weights, path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] if content == "cut" else whole[: len(whole) // 2])
    with pytest.raises(SpecError, match=why) as caught:
        read(folder)
    assert len(caught.value.faults) == 1
    assert "\n" not in str(caught.value)


class _Evil:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_run(folder: Path, weights: Weights, tmp_path: Path) -> None:
    torch.save({**weights, "evil": _Evil(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(SpecError, match="holds more than tensors"):
        read(folder)
    assert not (tmp_path / "ran").exists()


def test_a_compressed_pytorch_file_is_refused(folder: Path, weights: Weights) -> None:
    torch.save(weights, folder / "whole.bin")
    with (
        zipfile.ZipFile(folder / "whole.bin") as stored,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    with pytest.raises(SpecError, match="it is compressed"):
        read(folder)


def _without(*names: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: weights[name] for name in weights if name not in names}


def _with(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: change(weights[name])}


def _nan(value: Tensor) -> Tensor:
    value = value.clone()
    value.view(-1)[3] = float("nan")
    return value


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_without(QUERY), f"1 of the encoder's 39 weights.*{QUERY}"),
        (_without("pooler.dense.bias"), "1 of the encoder's 39 weights.*pooler.dense.bias"),
        (lambda weights: {WORDS: weights[WORDS]}, "38 of the encoder's 39 weights.* and 35 more"),
        (_without(WORDS), "no weights of a BERT encoder"),
        (lambda _: {"img_model.conv1.weight": torch.zeros(3)}, "there are img_model.conv1.weight"),
        (
            lambda weights: {**weights, **{f"teacher.{name}": weights[name] for name in weights}},
            "holds 2 encoders",
        ),
        (
            lambda weights: {**weights, "encoder.layer.2.output.dense.bias": torch.zeros(8)},
            "no part of an encoder of these sizes",
        ),
        (_with(QUERY, lambda value: value[:4]), r"has shape \(4, 8\)"),
        (_with(WORDS, lambda value: torch.cat([value, value])), r"has shape \(100, 8\)"),
        (_with(QUERY, lambda value: value.to(torch.int64)), "is int64"),
        (_with(QUERY, lambda value: value.bool()), "is bool"),
        (_with(QUERY, lambda value: value.to(torch.float8_e4m3fn)), "quantised, sparse or"),
        (_with(QUERY, _nan), "holds NaN or infinite numbers"),
        (_with(QUERY, lambda value: value * torch.inf), "holds NaN or infinite numbers"),
        (_with(QUERY, torch.zeros_like), "is zero throughout"),
        (
            _with(QUERY, lambda value: torch.full_like(value, 1e300, dtype=torch.float64)),
            "holds NaN or infinite numbers",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(
    folder: Path, weights: Weights, change: Callable[[Weights], Weights], why: str
) -> None:
    save_file({k: v.clone() for k, v in change(weights).items()}, folder / "model.safetensors")
    with pytest.raises(SpecError, match=why) as caught:
        read(folder)
    assert len(caught.value.faults) == 1


def test_many_faults_are_counted(folder: Path, weights: Weights) -> None:
    whole = {name: value.to(torch.int64) for name, value in weights.items()}
    save_file(whole, folder / "model.safetensors")
    with pytest.raises(SpecError, match="and 34 more faults") as caught:
        read(folder)
    assert len(caught.value.faults) == 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted_and_said(
    folder: Path, weights: Weights, dtype: torch.dtype
) -> None:
    save_file(
        {name: value.to(dtype) for name, value in weights.items()}, folder / "model.safetensors"
    )
    found = pretrained_encoder(pretrained_text(str(folder)))
    expected = {name: value.to(dtype).float() for name, value in weights.items()}
    assert same(dict(found.weights), expected)
    kind = str(dtype).removeprefix("torch.")
    assert found.notices == (
        f"39 weights of the pretrained text encoder were {kind} and became float32",
    )


def test_only_the_pooler_may_be_absent_and_it_is_said(folder: Path, spec: ModelSpec) -> None:
    config = BertConfig.from_pretrained(folder)
    BertForMaskedLM(config).save_pretrained(folder)
    text = pretrained_text(str(folder))
    assert pretrained_encoder(text).notices == (
        "the pretrained text encoder has no pooler: the pooler's weights were drawn at random",
    )
    plain = build(replace(spec, text=replace(text, pretrained="")), seed=5)
    model = build(replace(spec, text=text), seed=5)
    pooler = "text_model.bert.pooler.dense.weight"
    assert torch.equal(model.state_dict()[pooler], plain.state_dict()[pooler])


def test_code_of_the_folder_is_never_run_and_nobody_is_asked(
    folder: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
    for name in ("configuration_evil", "modeling_evil", "tokenization_evil", "__init__"):
        (folder / f"{name}.py").write_text(f"{code}class Evil: pass\n")
    auto_map = {
        "AutoConfig": "configuration_evil.Evil",
        "AutoModel": "modeling_evil.Evil",
        "AutoTokenizer": ["tokenization_evil.Evil", None],
    }
    save_file(weights, folder / "model.safetensors")

    def asked(*_: Any) -> str:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr(builtins, "input", asked)

    # BERT's own weights are read; another kind of model is refused.
    configure(folder, auto_map=auto_map, trust_remote_code=True)
    assert same(read(folder), weights)
    configure(folder, model_type="evil")
    with pytest.raises(SpecError, match="not a BERT model"):
        read(folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"hidden_size": "8"}, "hidden_size is '8'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None"),
        ({"num_hidden_layers": -1}, "layers must be at least 1"),
        ({"num_hidden_layers": 10**15}, "layers must be at most"),
        ({"vocab_size": 10**12}, "vocabulary must be at most"),
        ({"hidden_dropout_prob": 2}, r"dropout must be in \[0, 1\)"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
        ({"pad_token_id": 1}, "pad_token_id = 1"),
        ({"quantization_config": {"bits": 8}}, "quantization_config"),
        ({"is_decoder": True}, "is_decoder = True"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(
    folder: Path, values: dict[str, Any], why: str
) -> None:
    configure(folder, **values)
    with pytest.raises(SpecError, match=why):
        pretrained_text(str(folder))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", POINTER, b'{"a": 1, "a": 2}', b"[" * 10_000, b'{"a": NaN}'],
)
def test_unreadable_configurations_are_one_clear_line(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(SpecError) as caught:
        pretrained_text(str(folder))
    assert len(caught.value.faults) == 1


def test_an_encoder_of_the_first_years_states_no_type(folder: Path, weights: Weights) -> None:
    values = json.loads((folder / "config.json").read_text())
    for name in ("model_type", "architectures", "transformers_version"):
        values.pop(name, None)
    (folder / "config.json").write_text(json.dumps(values))
    save_file(weights, folder / "model.safetensors")
    assert same(read(folder), weights)


def test_weights_of_other_libraries_are_named(folder: Path) -> None:
    (folder / "tf_model.h5").write_bytes(b"\x89HDF")
    with pytest.raises(SpecError, match=r"neither model\.safetensors.*tf_model\.h5"):
        read(folder)


def test_a_link_that_leads_nowhere_is_not_passed_over(folder: Path, weights: Weights) -> None:
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").symlink_to(folder / "blob")
    with pytest.raises(SpecError, match=r"model\.safetensors.*there is no such file"):
        read(folder)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(SpecError, match="it is a pipe"):
        read(folder)


def test_too_many_parameters_are_refused_before_any_is_made() -> None:
    text = TextEncoderSpec(hidden=1_000_000, heads=1000, intermediate=1_000_000)
    with pytest.raises(SpecError, match="parameters"):
        ModelSpec(text=text)


def test_no_call_of_ours_lets_the_library_read_a_folder() -> None:
    # It would follow auto_map, ask, or fetch: every call says that it must not.
    sources = Path(forgetmi.__file__).parent.rglob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    calls = re.findall(r"\bAuto[A-Z]\w+\.from_pretrained\((?:[^()]|\([^()]*\))*\)", text)
    assert len(calls) == len(re.findall(r"\bAuto[A-Z]\w+\.from_pretrained\(", text)) == 2
    for call in calls:
        assert "trust_remote_code=False" in call
        assert "local_files_only=True" in call
    assert "trust_remote_code=True" not in text
    assert "weights_only=False" not in text
