"""A model's key holds whatever can change it, and a dry run that computes keys fetches nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from forgetmi.benchmark.grid import Axes, cells, points
from forgetmi.benchmark.settings import read_setting
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.benchmark.work import evaluation_digest
from forgetmi.cli import main
from forgetmi.core.cost import Cost
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model import pretrained
from forgetmi.model.architecture import Architecture
from forgetmi.model.pretrained import pretrained_text
from forgetmi.model.spec import TextEncoderSpec
from forgetmi.run import fingerprint
from forgetmi.run.pretrained import encoder_digest
from forgetmi.run.run_data import close_runs, open_run
from forgetmi.run.spec import PartitionSpec, RunSpec, write_yaml
from tests.runs import SMALL

SPEC = replace(SMALL, partition=PartitionSpec(), method=ForgetMI())
AXES = Axes((read_setting("cf_k"), read_setting("sisa")), (12.0,), (1,), (3,), (0,))
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "heart",
    "lungs",
    "clear",
    "edema",
    "no",
    "the",
    "is",
    ".",
)


def keys(spec: RunSpec) -> list[str]:
    return [cell.digest for cell in cells(points(spec, AXES))]


def write_bert(folder: Path, *, seed: int, dropout: float = 0.1) -> None:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
        hidden_dropout_prob=dropout,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A tiny BERT as a Hugging Face directory."""
    write_bert(tmp_path / "bert", seed=0)
    return tmp_path / "bert"


@pytest.fixture(autouse=True)
def _as_a_new_command() -> Iterator[None]:
    """No cohort prepared here is another test's."""
    close_runs()
    yield
    close_runs()


def with_bert(folder: Path, **options: Any) -> RunSpec:
    return replace(
        SPEC, model=Architecture(stem_width=8, widths=(8, 16), pretrained=str(folder), **options)
    )


def test_another_number_of_threads_makes_another_model() -> None:
    assert not set(keys(SPEC)) & set(keys(replace(SPEC, threads=2)))
    assert keys(replace(SPEC, workers=2)) == keys(SPEC)


def test_a_pretrained_encoder_is_known_by_its_weights(bert: Path) -> None:
    first = keys(with_bert(bert))
    (bert / "README.md").write_text("another file")
    assert keys(with_bert(bert)) == first
    write_bert(bert, seed=1)
    other = keys(with_bert(bert))
    assert not set(other) & set(first)
    write_bert(bert, seed=0)
    assert keys(with_bert(bert)) == first


def test_a_pretrained_encoder_is_known_by_its_configuration(bert: Path) -> None:
    first = encoder_digest(pretrained_text(str(bert)))
    write_bert(bert, seed=0, dropout=0.3)
    assert encoder_digest(pretrained_text(str(bert))) != first


def test_a_pretrained_encoder_is_read_once(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, weights = [], pretrained.pretrained_weights
    monkeypatch.setattr(
        "forgetmi.run.pretrained.pretrained_weights",
        lambda text: read.append(text) or weights(text),
    )
    keys(with_bert(bert))
    assert len(read) == 1


def test_without_an_encoder_there_is_a_key() -> None:
    assert encoder_digest(TextEncoderSpec()) == ""
    assert encoder_digest(TextEncoderSpec(pretrained="nobody/no-such-model")) == "absent"


def test_leave_to_download_is_no_part_of_a_model(bert: Path) -> None:
    asked = points(with_bert(bert, download=True), AXES)
    assert [cell.digest for cell in cells(asked)] == keys(with_bert(bert))
    first, second = open_run(asked[0].spec), open_run(with_bert(bert))
    assert first.prepared.spec == second.prepared.spec


def test_a_dry_run_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    local: list[bool] = []

    def fetch(name: str, *, local_files_only: bool) -> str:
        local.append(local_files_only)
        raise OSError("no such model")

    monkeypatch.setattr(pretrained, "snapshot_download", fetch)
    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(with_bert(Path("nobody/no-such-model"), download=True)))
    words = [
        "benchmark",
        "--spec",
        str(spec),
        "--out",
        str(tmp_path / "bench"),
        "--methods",
        "cf_k",
    ]
    assert main([*words, "--dry-run"]) == 2
    assert local
    assert all(local)
    said = capsys.readouterr().err
    assert "a dry run downloads nothing" in said
    assert "hf download" in said
    assert not (tmp_path / "bench").exists()


def test_a_dry_run_knows_the_models_that_were_made(bert: Path, tmp_path: Path, capsys: Any) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(with_bert(bert, download=True)))
    store = Store(tmp_path / "bench")
    for digest in keys(with_bert(bert, download=True)):
        finish(store, digest)
    options = [
        "--percents",
        "12",
        "--training-seeds",
        "3",
        "--no-presets",
        "--methods",
        "cf_k",
        "sisa",
    ]
    assert (
        main(["benchmark", "--spec", str(spec), "--out", str(store.root), *options, "--dry-run"])
        == 0
    )
    assert " models, 0 to make" in capsys.readouterr().out


def finish(store: Store, digest: str) -> None:
    store.folder(digest).mkdir(parents=True, exist_ok=True)
    store.finish(digest, Outcome("", Cost(1.0, 1.0, 1)), identity={})


def other_version(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    installed = fingerprint.version
    monkeypatch.setattr(
        fingerprint, "version", lambda name: "0.0" if name == library else installed(name)
    )


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "numpy", "scipy"])
def test_another_version_of_a_library_makes_another_model(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(SPEC)
    other_version(monkeypatch, library)
    assert not set(keys(SPEC)) & set(before)


@pytest.mark.parametrize("library", ["numpy", "scipy", "scikit-learn"])
def test_another_version_of_a_library_measures_anew(
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, point = Store(tmp_path), points(SPEC, AXES)[0]
    for cell in cells([point]):
        finish(store, cell.digest)
    before = evaluation_digest(store, point, point.original.digest)
    assert before == evaluation_digest(store, point, point.original.digest)
    other_version(monkeypatch, library)
    assert evaluation_digest(store, point, point.original.digest) != before


def test_a_key_says_what_it_is_of(bert: Path) -> None:
    stated = json.loads(points(with_bert(bert), AXES)[0].original.identity)
    assert stated["threads"] == 1
    assert len(stated["pretrained"]) == 64
    assert os.fspath(bert) == stated["model"]["pretrained"]
