"""The benchmark programs run, at tiny sizes."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from forgetmi.core.batch import Batch
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.image_text import ImageText
from forgetmi.run import workflow
from forgetmi.unlearning import method


def load(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "studies" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks its annotations up
    spec.loader.exec_module(module)
    return module


def test_the_program_for_gpus_runs_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--device cpu --presets compact --size 32 --layers 1 --images 8 --batch 8 --side 32"
    load("gpu").main([*options.split(), "--works", "training", "predict"])
    first, _, headings, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("processor, torch ")
    assert "Tflop/s" in first
    assert "GB/s" in first
    names = [cell.strip() for cell in headings.strip("|").split("|")]
    assert len(rows) == 2
    for row, work in zip(rows, ("training", "predict"), strict=True):
        cells = dict(zip(names, (cell.strip() for cell in row.strip("|").split("|")), strict=True))
        assert (cells["model"], cells["work"], cells["compiled"]) == ("compact", work, "off")
        assert float(cells["images a second"]) > 0
        assert 0 < sum(float(value) for name, value in cells.items() if name.endswith("%")) <= 105


@pytest.mark.slow
def test_the_program_for_gpus_measures_unlearning_too(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--device cpu --presets compact --size 32 --layers 1 --images 8 --batch 8 --side 32"
    load("gpu").main([*options.split(), "--works", "forget_mi", "undo"])
    rows = capsys.readouterr().out.splitlines()[4:]
    assert [row.split("|")[2].strip() for row in rows] == ["forget_mi", "undo"]
    assert all(float(row.split("|")[6]) > 0 for row in rows)


def test_too_few_images_are_refused_on_a_gpu() -> None:
    with pytest.raises(SystemExit, match="512"):
        load("gpu").main(["--images", "64"])


def test_sample_forwards_are_those_of_the_release(capsys: pytest.CaptureFixture[str]) -> None:
    load("speed").main(["--count"])
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()[2:]
    ]
    # the release's own loop, read and counted: 397 k, 421 k and 454 k sample-forwards in 30 epochs
    assert [round(int(row[1].replace(",", "")) / 1000) for row in rows] == [397, 421, 454]
    assert [float(row[3]) for row in rows] == [32.9, 17.5, 11.2]
    assert [[float(row[at]) for row in rows] for at in (5, 7, 9, 11)] == [
        [32.4, 17.2, 11.0],
        [21.7, 13.9, 9.7],
        [19.6, 12.3, 8.5],
        [14.7, 10.3, 7.6],
    ]


@pytest.mark.parametrize("noise", ["calibrated", "given"])
@pytest.mark.parametrize("signals", [False, True])
@pytest.mark.parametrize("epochs", [2, 9])  # the retained are seen in part, and more than once
def test_sample_forwards_are_those_of_a_run(
    epochs: int,
    signals: bool,
    noise: str,
    small: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sets = small.partition
    forget, retain, validation = len(sets.forget), len(sets.retain), len(sets.validation)
    assert (epochs * forget > retain) is (epochs > 2)
    monkeypatch.setattr("forgetmi.unlearning.noise_calibration.FEWEST", forget)
    passed: list[int] = []
    forward = ImageText.forward

    def counted(model: ImageText, batch: Batch, **options: Any) -> Any:
        passed.append(len(batch))
        return forward(model, batch, **options)

    original = workflow.build(small.prepared.spec, seed=0).eval()
    said = workflow.predict(prepared=small.prepared, model=original) if signals else None
    monkeypatch.setattr(ImageText, "forward", counted)
    done = workflow.unlearn(
        prepared=small.prepared,
        partition=sets,
        model=original,
        original=said,
        method=dataclasses.replace(ForgetMI(), epochs=epochs, noise=noise),
    )
    calibrated = "noise" in done.trace.facts
    assert calibrated is (noise == "calibrated")
    told = load("speed").forwards(forget, retain, validation=validation, epochs=epochs)
    needless = validation + told["with calibration"] if not calibrated else 0
    if signals:
        needless = (
            told["without signals"]
            - method.CHECKED
            + (0 if calibrated else told["with calibration"])
        )
    assert sum(passed) == sum(told.values()) - needless
    # A trace counts samples read by the method: labels of forgotten and validation too, the gate's fit not.
    assert done.trace.samples == {
        "forget": (epochs + (12 if calibrated else 1)) * forget,
        "validation": validation if calibrated else 0,
        "retain": epochs * forget + (0 if signals else min(epochs * forget, retain)),
    }


@pytest.mark.slow
def test_rounding_moves_a_model_less_than_another_seed(capsys: pytest.CaptureFixture[str]) -> None:
    load("rounding").main(["--patients", "30", "--methods", "forget_mi:epochs=4,lr=0.001"])
    row = capsys.readouterr().out.splitlines()[4]
    name, _, embeddings, *apart = [cell.strip() for cell in row.strip("|").split("|")]
    assert name == "`forget_mi:epochs=4,lr=0.001`"
    assert float(embeddings) > 0
    assert all(
        float(halves) < float(seeds) for halves, seeds in zip(apart[:2], apart[2:], strict=True)
    )


def test_the_cost_of_checksums_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load("cache_cost").measure(40, 16, tmp_path)
    cells = [cell.strip() for cell in capsys.readouterr().out.strip().strip("|").split("|")]
    assert cells[:3] == ["40", "16", "0"]
    assert cells[9] == "1"
    assert 64 < int(cells[8]) < 300  # tags, and what an index has in any case


def test_the_cost_of_a_table_is_that_of_a_reading(tmp_path: Path) -> None:
    study = load("table_cost")
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    study.seconds_of(study.write_table(tmp_path, 40), tmp_path / "key")  # imports are no part of it
    few = study.seconds_of(study.write_table(tmp_path, 40), tmp_path / "key")
    many = study.seconds_of(study.write_table(tmp_path, 4000), tmp_path / "key")
    assert 0 < few < many
