"""Whole runs within carriers, and the commands that train and unlearn by them: what they leave says what moved."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from forgetmi.cli import main
from forgetmi.core.errors import MethodError
from forgetmi.evidence.verify import verify
from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.retrain import Retrain
from forgetmi.model.checkpoint import load
from forgetmi.model.recipe import Recipe
from forgetmi.run.applicable import check_model
from forgetmi.run.finish import finish
from forgetmi.run.spec import RunSpec
from forgetmi.unlearning.adapter_files import with_adapters
from tests.runs import TINY

SEEN = "the image tower and the text tower saw the patients"


def test_a_carrier_that_does_not_suit_is_refused_before_anything_is_decoded() -> None:
    cohort = TINY.cohort.load()
    with pytest.raises(MethodError, match="Forget-MI cannot work with the carrier heads"):
        check_model(dataclasses.replace(TINY, carrier="heads"), cohort)
    by_adapters = dataclasses.replace(TINY, training=Recipe(epochs=1, carrier="lora"))
    with pytest.raises(MethodError, match="an original cannot be trained by adapters alone"):
        check_model(by_adapters, cohort)
    check_model(dataclasses.replace(TINY, carrier="lora"), cohort)


@pytest.mark.slow
def test_a_run_with_adapters_keeps_them_and_says_what_they_cover(tmp_path: Path) -> None:
    spec = dataclasses.replace(
        TINY, method=FineTune(epochs=1), carrier="lora,rank=2", carrier_keep=True, duplicates=False
    )
    finish(spec, tmp_path / "run", command=["forgetmi", "run"])
    record = verify(tmp_path / "run").record
    assert record.method.options["carrier"].startswith("lora,rank=2")
    assert "below them saw the patients" in record.method.options["the removal covers"]
    assert "adapters/adapters.safetensors" in record.files
    assert "below them saw the patients" in (tmp_path / "run" / "report.html").read_text()

    # The adapters make the unlearned model of the original
    models = tmp_path / "run" / "models"
    again = with_adapters(load(models / "original").model, tmp_path / "run" / "adapters")
    for name, value in load(models / "unlearned").model.state_dict().items():
        assert torch.allclose(value, again.state_dict()[name], atol=1e-6)


@pytest.mark.slow
def test_a_run_whose_trainings_move_the_heads_is_exact_by_new_heads(tmp_path: Path) -> None:
    spec = dataclasses.replace(
        TINY, method=Retrain(), training=Recipe(epochs=1, carrier="heads"), duplicates=False
    )
    finish(spec, tmp_path / "run", command=["forgetmi", "run"])
    record = verify(tmp_path / "run").record
    assert record.method.exact
    assert record.method.options["the removal covers"] == "heads only; the towers saw no patient"

    # On an original whose towers were trained the same method is not exact
    whole = dataclasses.replace(spec, training=Recipe(epochs=1), carrier="heads")
    finish(whole, tmp_path / "other", command=["forgetmi", "run"])
    record = verify(tmp_path / "other").record
    assert not record.method.exact
    assert SEEN in record.method.options["the removal covers"]


@pytest.mark.slow
def test_the_commands_train_and_unlearn_within_a_carrier(tmp_path: Path) -> None:
    words = ["--cohort.patients=40", "--cohort.seed=3", "--cohort.size=32", "--seed=3"]
    kind = ["--images.size=32", "--model.stem-width=8", "--model.hidden=16", "--model.heads=2"]
    kind += ["--model.layers=1", "--model.intermediate=32", "--text.min-patients=2"]
    recipe = ["--training.epochs=1", "--partition.percent=12"]
    out = str(tmp_path / "model")
    assert main(["train", f"--out={out}", "--carrier=heads", *words, *kind, *recipe]) in (0, None)
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["extra"]["untouched"] == ["tower:text", "tower:image"]
    assert facts["extra"]["recipe"]["carrier"] == "heads"

    # Heads that start afresh on towers that saw nobody
    unlearn = ["unlearn", f"--checkpoint={out}", *words, *recipe, "--no-duplicates"]
    new = tmp_path / "new"
    heads = [*unlearn, f"--out={new}", "--method=short_retrain", "--carrier=heads"]
    assert main(heads) in (0, None)
    trace = json.loads((tmp_path / "new.trace.json").read_text())
    assert trace["facts"]["the removal covers"] == "heads only; the towers saw no patient"
    assert json.loads((new / "model.json").read_text())["extra"]["untouched"]

    # Adapters, kept
    kept = tmp_path / "adapted"
    lora = [*unlearn, f"--out={kept}", "--method=fine_tune", "--method.epochs=1"]
    assert main([*lora, "--carrier=lora,rank=2", "--carrier-keep"]) in (0, None)
    again = with_adapters(load(tmp_path / "model").model, tmp_path / "adapted.adapters")
    for name, value in load(kept).model.state_dict().items():
        assert torch.allclose(value, again.state_dict()[name], atol=1e-6)
    assert "untouched" not in json.loads((kept / "model.json").read_text())["extra"]


def test_where_nothing_is_said_nothing_is_stored() -> None:
    assert RunSpec().moves.kind == "full"
