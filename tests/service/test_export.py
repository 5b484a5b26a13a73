"""An exported file predicts what the model predicts, says what it is, and names neither a person nor a path."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import forgetmi
from forgetmi.cli import main
from forgetmi.core.errors import CheckpointError, SpecError
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.initialise import build
from forgetmi.model.tasks.by_name import training_task
from forgetmi.service import export as exporting
from forgetmi.service.export import export
from forgetmi.service.plain_tensors import plain_tensors, random_inputs, sizes_of

HEADS = ("image_logits", "image_prediction", "text_logits", "text_prediction", "joint_prediction")
PATHS = (b"site-packages", b"/src/forgetmi", str(Path.home()).encode() + b"/", b"/tmp/")


def texts_of(path: Path) -> bytes:
    """All content of a file; of an archive that of its members, without their weights."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if "weight" not in name)


def test_torch_export(
    small: Any, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.pt2"
    assert main(["export", str(stored), "--to", "torch-export", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Checked: 5 batches of 1 to 5 samples" in printed
    assert "pixels, tokens, mask" in printed

    # Other batches than the command's own
    model = forgetmi.load(stored)
    sizes = sizes_of(model)
    extra = {"facts.json": ""}
    loaded = torch.export.load(out, extra_files=extra).module()
    plain = plain_tensors(model, sizes)
    for samples, length in ((4, 9), (1, 11), (17, 2)):
        tensors = random_inputs(sizes, samples=samples, length=length, number=99)
        with torch.no_grad():
            for one, other in zip(plain(*tensors), loaded(*tensors), strict=True):
                torch.testing.assert_close(one, other, atol=1e-4, rtol=0)

    # What whoever gets it must know, and nothing of this machine or of anybody
    facts = json.loads(extra["facts.json"])
    assert facts["weights"] == model.loaded.digest
    assert facts["classes"] == list(small.cohort.classes)
    assert facts["preprocessing"] == model.loaded.preprocessing
    assert facts["outputs"] == list(HEADS)
    content = texts_of(out)
    marks = [*PATHS, *(str(one).encode() for one in small.cohort.patient)]
    assert not [mark for mark in marks if mark in content]


@pytest.mark.slow
def test_an_ensemble_is_exported_too(small: Any, tmp_path: Path) -> None:
    members = [build(small.prepared.spec, seed=seed) for seed in (0, 1)]
    ensemble = Ensemble(members, task=training_task("grades"))
    forgetmi.save(
        tmp_path / "m",
        ensemble,
        prepared=small.prepared,
        partition=None,
        without_forgotten=False,
    )
    done = export(forgetmi.load(tmp_path / "m"), "torch-export", tmp_path / "m.pt2")
    assert done.outputs == HEADS
    assert done.checked == 5


@pytest.mark.parametrize("broken", [1e-3, float("nan")])
def test_another_prediction_is_found(stored: Path, broken: float) -> None:
    model = forgetmi.load(stored)
    sizes = sizes_of(model)
    plain = plain_tensors(model, sizes)
    with torch.no_grad():
        assert exporting._compare(plain, lambda tensors: list(plain(*tensors)), sizes)[0] == 5
        with pytest.raises(CheckpointError, match="predicts something else"):
            exporting._compare(
                plain, lambda tensors: [one + broken for one in plain(*tensors)], sizes
            )


@pytest.mark.slow
def test_a_file_that_predicts_something_else_is_not_written(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(path: Path) -> Any:
        with path.open("rb") as file:
            loaded = torch.export.load(file).module()
        return lambda tensors: [value + 1e-3 for value in loaded(*tensors)]

    monkeypatch.setattr(exporting, "_torch_run", run)
    with pytest.raises(CheckpointError, match="predicts something else"):
        export(forgetmi.load(stored), "torch-export", tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"forgetmi\[export\]"):
        export(forgetmi.load(stored), "onnx", tmp_path / "model.onnx")


@pytest.mark.slow
def test_onnx(small: Any, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "model.onnx"
    assert main(["export", str(stored), "--to", "onnx", "--out", str(out)]) == 0
    assert "Checked: 5 batches" in capsys.readouterr().out
    onnx.checker.check_model(str(out), full_check=True)

    model = forgetmi.load(stored)
    sizes = sizes_of(model)
    plain = plain_tensors(model, sizes)
    session = runtime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == list(HEADS)
    for samples, length in ((4, 9), (1, 11), (17, 2)):
        tensors = random_inputs(sizes, samples=samples, length=length, number=99)
        given = {name: tensor.numpy() for name, tensor in zip(sizes.names, tensors, strict=True)}
        with torch.no_grad():
            for one, other in zip(plain(*tensors), session.run(None, given), strict=True):
                torch.testing.assert_close(one, torch.from_numpy(other), atol=1e-4, rtol=0)

    facts = json.loads(session.get_modelmeta().custom_metadata_map["forgetmi"])
    assert facts["weights"] == model.loaded.digest
    assert facts["vocabulary"] == list(model.loaded.vocabulary)
    content = out.read_bytes()
    marks = [*PATHS, *(str(one).encode() for one in small.cohort.patient)]
    assert not [mark for mark in marks if mark in content]


@pytest.mark.slow
def test_onnx_without_its_runtime_says_so(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("onnx")
    found = exporting.find_spec
    monkeypatch.setattr(
        exporting, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    out = tmp_path / "model.onnx"
    assert main(["export", str(stored), "--to", "onnx", "--out", str(out)]) == 0
    assert "NOT CHECKED: onnxruntime is not installed" in capsys.readouterr().out
    assert out.exists()
