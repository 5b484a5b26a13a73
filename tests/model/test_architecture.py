"""From options to a complete architecture, and pretrained text encoders end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from forgetmi.core.errors import SpecError
from forgetmi.model.architecture import Architecture
from forgetmi.model.initialise import build
from forgetmi.model.spec import compact, paper
from forgetmi.run import workflow


def test_presets_and_overrides() -> None:
    assert Architecture().resolve(size=64, classes=4, vocabulary=900, longest=128) == compact(
        4, 900
    )
    published = Architecture(preset="paper").resolve(
        size=2048, classes=4, vocabulary=31_090, longest=320
    )
    assert published == paper(4, 31_090)
    spec = Architecture(widths=(8, 16), layers=1, dropout=0.2).resolve(
        size=128, classes=3, vocabulary=50, longest=40
    )
    assert spec.image.widths == (8, 16)
    assert spec.image.size == 128
    assert (spec.text.layers, spec.text.dropout, spec.text.positions) == (1, 0.2, 40)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as a Hugging Face directory."""
    folder = tmp_path_factory.mktemp("bert")
    words = [
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
    ]
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
    )
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    return folder


def test_a_pretrained_encoder_brings_its_weights_and_tokenizer(bert: Path, small: Any) -> None:
    architecture = Architecture(stem_width=8, widths=(8, 16), pretrained=str(bert))
    prepared = workflow.prepare(
        cohort=small.cohort,
        partition=small.partition,
        images=small.prepared.images,
        architecture=architecture,
    )
    assert prepared.records.tokenizer.vocabulary[5] == "heart"
    model = build(prepared.spec, seed=1)
    stored = BertModel.from_pretrained(bert)
    ours, theirs = model.text_model.bert.state_dict(), stored.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    outputs = model(prepared.records.batch(small.partition.forget[:2]))
    assert (
        outputs.text_embedding.shape == outputs.image_embedding.shape
    )  # a projection joins 24 and 16


def test_sizes_of_a_pretrained_encoder_cannot_be_chosen(bert: Path) -> None:
    with pytest.raises(SpecError, match="layers cannot be chosen"):
        Architecture(pretrained=str(bert), layers=2).resolve(
            size=64, classes=2, vocabulary=13, longest=64
        )


def test_a_hub_id_is_not_fetched_unasked(small: Any) -> None:
    with pytest.raises(SpecError, match="cannot be found"):
        workflow.prepare(
            cohort=small.cohort,
            partition=small.partition,
            architecture=Architecture(pretrained="nobody/no-such-model"),
        )
