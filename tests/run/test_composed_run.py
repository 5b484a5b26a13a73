"""Models of towers through the verbs of the front door, on the synthetic cohort."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.errors import SpecError
from forgetmi.core.partition import Partition
from forgetmi.core.registry import methods
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.model.architecture import Architecture
from forgetmi.model.composed import Composed
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.composing import towers_digest
from forgetmi.run.fingerprint import fingerprint
from forgetmi.run.prepared import Prepared, open_checkpoint
from forgetmi.run.spec import RunSpec, from_plain, to_plain
from forgetmi.service.trained_model import load
from tests.model.test_composed import kinds
from tests.model.test_hf_towers import TEXT, VISION, stored

__all__ = ["kinds"]

PIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *(*string.digits, ".", ","),
)
LONGEST = 48


@dataclass(frozen=True, eq=False)
class Made:
    """An original of two towers, and what it was made of."""

    architecture: Architecture
    data: Prepared
    sets: Partition
    model: Composed


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Vision Transformer, and a BERT with a tokenizer of letters, stored as published ones are."""
    root = tmp_path_factory.mktemp("towers")
    stored(root / "vision", "vit", VISION["vit"])
    rules = {"size": 32, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (root / "vision" / "preprocessor_config.json").write_text(json.dumps(rules))

    sizes = {**TEXT["bert"], "vocab_size": 90, "max_position_embeddings": LONGEST}
    stored(root / "text", "bert", sizes)
    tokenizer = BertWordPieceTokenizer({piece: number for number, piece in enumerate(PIECES)})
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(root / "text" / "tokenizer.json"))
    return root


@pytest.fixture(scope="module")
def made(towers: Path, kinds: None) -> Made:
    architecture = Architecture(
        towers=(f"image=hf_vision:{towers / 'vision'},frozen=2", f"text=hf_text:{towers / 'text'}"),
        width=12,
    )
    cohort = SyntheticCohort(patients=16, reference_patients=0).load()
    sets = partition(cohort, forget=20.0)
    data = workflow.prepare(
        cohort=cohort, partition=sets, architecture=architecture, max_length=LONGEST
    )
    model, trace = workflow.train(prepared=data, partition=sets, recipe=Recipe(epochs=1))
    assert isinstance(model, Composed)
    assert np.isfinite(trace.total("loss"))
    return Made(architecture, data, sets, model)


def test_images_and_tokens_are_those_of_the_towers(made: Made) -> None:
    assert made.data.images.size == 32
    assert "images are prepared at 32 pixels" in made.data.notices[0]

    tokenizer = made.data.records.tokenizer
    assert isinstance(tokenizer, LibraryTokenizer)
    ids = tokenizer.encode(["no edema"])[0]
    assert [PIECES[number] for number in ids[:3]] == ["[CLS]", "n", "##o"]
    assert len(ids) == 2 + len("noedema")
    assert len(tokenizer.encode(["a" * 90 + " b" * 90])[0]) == LONGEST


def test_a_checkpoint_opens_without_the_folders_and_predicts_the_same(
    made: Made, towers: Path, tmp_path: Path
) -> None:
    made.data.save(tmp_path / "model", made.model, patients=None)
    expected = workflow.predict(prepared=made.data, model=made.model, rows=made.sets.holdout)

    away = towers.rename(towers.with_name("away"))
    try:
        prepared, loaded = open_checkpoint(tmp_path / "model", cohort=made.data.cohort)
    finally:
        away.rename(towers)

    assert prepared.records.tokenizer == made.data.records.tokenizer
    assert prepared.spec == made.data.spec
    assert loaded.digest == parameter_digest(made.model)
    signals = workflow.predict(prepared=prepared, model=loaded.model, rows=made.sets.holdout)
    for name, values in expected.logits.items():
        assert np.array_equal(signals.logits[name], values)

    # What is of the same kind is taken as it is
    same, _ = open_checkpoint(tmp_path / "model", cohort=made.data.cohort, like=made.data)
    assert same is made.data


@pytest.mark.parametrize("name", ["cf_k", "deep_clean", "forget_mi", "retrain", "shrink_perturb"])
def test_methods_work_on_it_and_leave_what_is_frozen(name: str, made: Made) -> None:
    kind = methods.get(name)
    method = kind(**({"epochs": 1} if "epochs" in kind.__dataclass_fields__ else {}))
    result = workflow.unlearn(
        prepared=made.data,
        partition=made.sets,
        model=made.model,
        method=method,
        recipe=Recipe(epochs=1),
    )

    before, after = made.model.state_dict(), result.model.state_dict()
    frozen = ("towers.image.model.embeddings.", "towers.image.model.layers.0.")
    for tensor in before:
        if tensor.startswith(frozen):
            assert torch.equal(before[tensor], after[tensor]), tensor
    moved = "classifiers" if name == "cf_k" else "projections"
    assert not torch.equal(before[f"{moved}.image.weight"], after[f"{moved}.image.weight"])


def test_a_training_begins_at_the_first_stage_that_moves(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=2, lr=1e-4)
    cached, _ = workflow.train(prepared=made.data, partition=made.sets, recipe=recipe)
    monkeypatch.setattr(workflow, "training_prefixes", lambda *_: {})
    whole, _ = workflow.train(prepared=made.data, partition=made.sets, recipe=recipe)

    # The same weights to rounding, and no trace of the table in the model
    assert not cached.execution.prefixes
    for name, value in whole.state_dict().items():
        assert torch.allclose(cached.state_dict()[name], value, atol=1e-3), name


def test_the_key_of_a_model_holds_the_public_weights(made: Made, towers: Path) -> None:
    key = fingerprint(made.data, made.sets)
    spec = made.data.spec
    assert key["pretrained"] == towers_digest(spec)
    assert len(key["pretrained"]) == 64

    away = towers.rename(towers.with_name("away"))
    try:
        assert towers_digest(spec) == "absent"
    finally:
        away.rename(towers)


def test_towers_stand_in_a_run_specification_and_are_left_out_of_older_ones(made: Made) -> None:
    plain = to_plain(RunSpec(model=made.architecture))
    assert plain["model"]["towers"] == list(made.architecture.towers)
    assert from_plain(RunSpec, {"model": plain["model"]}, where="spec").model == made.architecture
    assert "towers" not in to_plain(RunSpec())["model"]


def test_it_is_taken_into_service(made: Made, tmp_path: Path) -> None:
    made.data.save(tmp_path / "model", made.model, patients=None)
    model = load(tmp_path / "model")
    predictions = model.predict(images=[np.zeros((40, 30), np.float32)], reports=["no edema"])
    assert set(predictions.heads) == {"image", "text"}
    assert np.allclose(predictions.joint.sum(1), 1.0)


def test_reports_that_are_longer_than_the_encoder_reads_are_refused(made: Made) -> None:
    with pytest.raises(SpecError, match=r"reports may have 64 tokens.*text.max_length to 48"):
        workflow.prepare(
            cohort=made.data.cohort,
            partition=made.sets,
            architecture=made.architecture,
            max_length=64,
        )
