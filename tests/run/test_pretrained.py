"""A pretrained encoder and its tokenizer are checked against each other before anything is decoded or trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.errors import CheckpointError, SpecError
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL
from forgetmi.model import checkpoint
from forgetmi.model.architecture import Architecture
from forgetmi.model.initialise import build
from forgetmi.model.pretrained import pretrained_text
from forgetmi.run import workflow
from forgetmi.run.dry_run import check_run
from forgetmi.run.pretrained import check_encoder
from forgetmi.run.spec import RunSpec

WORDS = (*SPECIAL, "heart", "lungs", "clear", "edema", "no", "the", "is", ".")


def write_bert(folder: Path, *, rows: int = len(WORDS), positions: int = 512) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=rows,
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return folder


def prepare(folder: Path, small: Any, **options: Any) -> workflow.Prepared:
    return workflow.prepare(
        cohort=small.cohort,
        partition=small.partition,
        images=small.prepared.images,
        architecture=Architecture(stem_width=8, widths=(8, 16), pretrained=str(folder)),
        **options,
    )


def test_a_padded_vocabulary_works_to_the_checkpoint_and_back(tmp_path: Path, small: Any) -> None:
    prepared = prepare(write_bert(tmp_path / "bert", rows=16), small)
    assert prepared.notices == (
        "the pretrained text encoder has rows for 16 pieces, its tokenizer has 13: "
        "3 rows are never read",
    )

    # The checkpoint holds all rows, the pieces of the tokenizer, and the notice.
    digest = prepared.save(tmp_path / "model", build(prepared.spec, seed=0), patients=None)
    loaded = checkpoint.load(tmp_path / "model")
    assert loaded.digest == digest
    assert loaded.vocabulary == WORDS
    assert loaded.spec.text.vocabulary == 16
    assert loaded.extra["notices"] == list(prepared.notices)


def test_without_a_pretrained_encoder_no_row_is_spare(tmp_path: Path, small: Any) -> None:
    model = build(small.prepared.spec, seed=0)
    with pytest.raises(CheckpointError, match="word pieces for a model of"):
        checkpoint.save(
            tmp_path / "model",
            model,
            vocabulary=small.prepared.records.tokenizer.vocabulary[:-1],
            preprocessing={},
            classes=small.cohort.classes,
        )


@pytest.mark.parametrize(
    ("rows", "positions", "options", "why"),
    [
        (12, 512, {}, "the tokenizer has 13 pieces.*rows for 12"),
        (13, 64, {}, "reports may have 320 tokens.*has 64 positions.*text.max_length to 64"),
        (12, 64, {}, "13 pieces(.|\n)*320 tokens"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused_before_images_are_decoded(
    tmp_path: Path,
    small: Any,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    positions: int,
    options: dict[str, Any],
    why: str,
) -> None:
    def decoded(*_: Any, **__: Any) -> None:
        raise AssertionError("images were decoded")

    monkeypatch.setattr(workflow, "build_image_store", decoded)
    with pytest.raises(SpecError, match=why):
        prepare(write_bert(tmp_path / "bert", rows=rows, positions=positions), small, **options)


def test_another_padding_token_is_refused(tmp_path: Path) -> None:
    text = pretrained_text(str(write_bert(tmp_path / "bert")))
    moved = Tokenizer((*WORDS[1:], WORDS[0]))
    with pytest.raises(SpecError, match=r"\[PAD\] is token 12"):
        check_encoder(text, moved)


def test_missing_weights_are_refused_before_images_are_decoded(
    tmp_path: Path, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bert(tmp_path / "bert", rows=12)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors")
    monkeypatch.setattr(workflow, "build_image_store", None)

    # Together with what is wrong with the tokenizer.
    with pytest.raises(SpecError) as caught:
        prepare(folder, small)
    assert len(caught.value.faults) == 2


def test_a_special_token_that_is_missing_is_named(tmp_path: Path, small: Any) -> None:
    folder = write_bert(tmp_path / "bert")
    words = (folder / "vocab.txt").read_text().replace("[MASK]", "[MASKED]")
    (folder / "vocab.txt").write_text(words)
    with pytest.raises(CheckpointError, match=r"lacks \[MASK\]"):
        prepare(folder, small)


def test_conversions_reach_the_checkpoint(tmp_path: Path, small: Any) -> None:
    folder = write_bert(tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, folder / "model.safetensors")
    prepared = prepare(folder, small)
    prepared.save(tmp_path / "model", build(prepared.spec, seed=0), patients=None)
    extra = json.loads((tmp_path / "model" / "model.json").read_text())["extra"]
    assert extra["notices"] == [
        "23 weights of the pretrained text encoder were float16 and became float32"
    ]


def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path: Path) -> None:
    architecture = Architecture(stem_width=8, widths=(8, 16), pretrained=str(tmp_path / "bert"))
    spec = replace(
        RunSpec(),
        cohort=SyntheticCohort(patients=20, size=32),
        images=ImagePreprocessing(size=32),
        model=architecture,
    )
    write_bert(tmp_path / "bert", rows=12, positions=64)
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"")
    with pytest.raises(SpecError) as caught:
        check_run(spec, tmp_path / "out")
    assert len(caught.value.faults) == 3

    write_bert(tmp_path / "bert")
    assert check_run(spec, tmp_path / "out") == []
